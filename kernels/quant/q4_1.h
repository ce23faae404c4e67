// Q4_1: 32 values in 20 bytes, value = d × nibble + m.
//
//   0   2   4                               20
//   +---+---+-------------------------------+
//   | d | m | 16 bytes of nibbles           |   byte i: low nibble value i, high nibble value i +
//   16
//   +---+---+-------------------------------+
//    f16 f16
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ4_1> {
  struct Block {
    std::uint16_t d;
    std::uint16_t m;
    std::uint8_t nibbles[16];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = true;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    for (int i = 0; i < 16; ++i) {
      out.codes[i] = static_cast<std::int8_t>(block.nibbles[i] & 15);
      out.codes[i + 16] = static_cast<std::int8_t>(block.nibbles[i] >> 4);
    }
    out.scales[0] = 1;
    out.minima[0] = 1;
    out.d = f32_of_f16(block.d);
    out.m = f32_of_f16(block.m);
  }
};

}  // namespace hearth::kernels
