// Q5_1: 32 values in 24 bytes, value = d × (nibble + 16 × bit) + m.
//
//   0   2   4       8                               24
//   +---+---+-------+-------------------------------+
//   | d | m | bits  | 16 bytes of nibbles           |   byte i: low nibble value i, high i + 16
//   +---+---+-------+-------------------------------+   bit i of the little-endian `bits`: value i
//    f16 f16
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ5_1> {
  struct Block {
    std::uint16_t d;
    std::uint16_t m;
    std::uint8_t bits[4];
    std::uint8_t nibbles[16];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = true;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    for (int i = 0; i < 32; ++i) {
      const int low = i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4;
      const int high = (block.bits[i / 8] >> (i % 8)) & 1;
      out.codes[i] = static_cast<std::int8_t>(low + 16 * high);
    }
    out.scales[0] = 1;
    out.minima[0] = 1;
    out.d = f32_of_f16(block.d);
    out.m = f32_of_f16(block.m);
  }
};

}  // namespace hearth::kernels
