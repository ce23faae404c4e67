// Q4_0: 32 values in 18 bytes, value = d × (nibble - 8).
//
//   0   2                               18
//   +---+-------------------------------+
//   | d | 16 bytes of nibbles           |   byte i: low nibble value i, high nibble value i + 16
//   +---+-------------------------------+
//    f16
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ4_0> {
  struct Block {
    std::uint16_t d;
    std::uint8_t nibbles[16];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    for (int i = 0; i < 16; ++i) {
      out.codes[i] = static_cast<std::int8_t>((block.nibbles[i] & 15) - 8);
      out.codes[i + 16] = static_cast<std::int8_t>((block.nibbles[i] >> 4) - 8);
    }
    out.scales[0] = 1;
    out.minima[0] = 0;
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
