// Q5_K: 256 values in 176 bytes, value = d × scale × (nibble + 16 × bit) - dmin × minimum, parts
// of 32.
//
//   0   2      4                    16          48                               176
//   +---+------+--------------------+-----------+--------------------------------+
//   | d | dmin | 12: six-bit scales | high bits | 128 bytes of nibbles           |
//   +---+------+--------------------+-----------+--------------------------------+
//    f16 f16
// Nibble byte 32 j + i: low nibble value 64 j + i, high nibble value 64 j + 32 + i. High byte i,
// bit b: value 32 b + i.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/six_bit_scales.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ5_K> {
  struct Block {
    std::uint16_t d;
    std::uint16_t dmin;
    std::uint8_t scales[12];
    std::uint8_t high_bits[32];
    std::uint8_t nibbles[128];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = true;

  static void decode(const Block& block, DecodedBlock<256, 32>& out) {
    for (int i = 0; i < 256; ++i) {
      const int byte = block.nibbles[i / 64 * 32 + i % 32];
      const int low = i % 64 < 32 ? byte & 15 : byte >> 4;
      const int high = (block.high_bits[i % 32] >> (i / 32)) & 1;
      out.codes[i] = static_cast<std::int8_t>(low + 16 * high);
    }
    unpack_six_bit_scales(block.scales, out.scales, out.minima);
    out.d = f32_of_f16(block.d);
    out.m = -f32_of_f16(block.dmin);
  }
};

}  // namespace hearth::kernels
