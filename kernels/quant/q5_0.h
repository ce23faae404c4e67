// Q5_0: 32 values in 22 bytes, value = d × (nibble + 16 × bit - 16).
//
//   0   2       6                               22
//   +---+-------+-------------------------------+
//   | d | bits  | 16 bytes of nibbles           |   byte i: low nibble value i, high nibble i + 16
//   +---+-------+-------------------------------+   bit i of the little-endian `bits`: value i
//    f16
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ5_0> {
  struct Block {
    std::uint16_t d;
    std::uint8_t bits[4];
    std::uint8_t nibbles[16];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    for (int i = 0; i < 32; ++i) {
      const int low = i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4;
      const int high = (block.bits[i / 8] >> (i % 8)) & 1;
      out.codes[i] = static_cast<std::int8_t>(low + 16 * high - 16);
    }
    out.scales[0] = 1;
    out.minima[0] = 0;
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
