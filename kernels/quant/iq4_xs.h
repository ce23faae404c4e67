// IQ4_XS: 256 values in 136 bytes, value = d × (scale - 32) × kIq4Values[nibble], parts of 32.
//
//   0   2             4            8                                  136
//   +---+-------------+------------+----------------------------------+
//   | d | scales high | scales low | 128 bytes of nibbles             |
//   +---+-------------+------------+----------------------------------+
//    f16 u16 (LE)      4 bytes
// Nibble byte 16 p + i: low nibble value 32 p + i, high nibble value 32 p + 16 + i. Scale of part
// p: low four bits from nibble p of the low scales, high two from bits 2 p and up of the high ones.
#pragma once

#include "kernels/quant/iq4_nl.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ4_XS> {
  struct Block {
    std::uint16_t d;
    std::uint16_t scales_high;
    std::uint8_t scales_low[4];
    std::uint8_t nibbles[128];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 32>& out) {
    for (int i = 0; i < 256; ++i) {
      const int byte = block.nibbles[i / 32 * 16 + i % 16];
      out.codes[i] = kIq4Values[i % 32 < 16 ? byte & 15 : byte >> 4];
    }
    for (int part = 0; part < 8; ++part) {
      const int low = (block.scales_low[part / 2] >> (part % 2 * 4)) & 15;
      const int high = (block.scales_high >> (2 * part)) & 3;
      out.scales[part] = low + 16 * high - 32;
      out.minima[part] = 0;
    }
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
