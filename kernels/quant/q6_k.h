// Q6_K: 256 values in 210 bytes, value = d × scale × (nibble + 16 × two bits - 32), parts of 16.
//
//   0                                128                   192            208  210
//   +--------------------------------+---------------------+--------------+---+
//   | 128 bytes of nibbles           | 64: high bits       | 16: scales   | d |
//   +--------------------------------+---------------------+--------------+---+
//                                                            int8          f16
// For each half h of 128 values, i in 0..31 and j in 0..3, value 128 h + 32 j + i has its low four
// bits in nibble byte 64 h + 32 (j mod 2) + i (low nibble for j < 2, else high) and its high bits
// in bits 2 j and 2 j + 1 of high byte 32 h + i.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ6_K> {
  struct Block {
    std::uint8_t nibbles[128];
    std::uint8_t high_bits[64];
    std::int8_t scales[16];
    std::uint16_t d;
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 16>& out) {
    for (int i = 0; i < 256; ++i) {
      const int half = i / 128, quarter = i % 128 / 32;
      const int byte = block.nibbles[64 * half + 32 * (quarter % 2) + i % 32];
      const int low = quarter < 2 ? byte & 15 : byte >> 4;
      const int high = (block.high_bits[32 * half + i % 32] >> (2 * quarter)) & 3;
      out.codes[i] = static_cast<std::int8_t>(low + 16 * high - 32);
    }
    for (int part = 0; part < 16; ++part) {
      out.scales[part] = block.scales[part];
      out.minima[part] = 0;
    }
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
