// Q2_K: 256 values in 84 bytes, value = d × scale × code - dmin × minimum, parts of 16.
//
//   0                 16                           80  82     84
//   +-----------------+----------------------------+---+------+
//   | 16 scale bytes  | 64 bytes of four codes     | d | dmin |
//   +-----------------+----------------------------+---+------+
//                                                   f16 f16
// Scale byte p: low nibble the scale, high nibble the minimum of part p. Code byte 32 h + i, bits
// 2 j and 2 j + 1: value 128 h + 32 j + i.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ2_K> {
  struct Block {
    std::uint8_t scales[16];
    std::uint8_t codes[64];
    std::uint16_t d;
    std::uint16_t dmin;
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = true;

  static void decode(const Block& block, DecodedBlock<256, 16>& out) {
    for (int i = 0; i < 256; ++i) {
      const int byte = block.codes[i / 128 * 32 + i % 32];
      out.codes[i] = static_cast<std::int8_t>((byte >> (i % 128 / 32 * 2)) & 3);
    }
    for (int part = 0; part < 16; ++part) {
      out.scales[part] = block.scales[part] & 15;
      out.minima[part] = block.scales[part] >> 4;
    }
    out.d = f32_of_f16(block.d);
    out.m = -f32_of_f16(block.dmin);
  }
};

}  // namespace hearth::kernels
