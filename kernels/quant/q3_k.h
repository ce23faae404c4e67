// Q3_K: 256 values in 110 bytes, value = d × (scale - 32) × (code + 4 × bit - 4), parts of 16.
//
//   0              32                           96             108  110
//   +--------------+----------------------------+--------------+---+
//   | high bits    | 64 bytes of four codes     | 12: scales   | d |
//   +--------------+----------------------------+--------------+---+
//                                                               f16
// Code byte 32 h + i, bits 2 j and 2 j + 1: value 128 h + 32 j + i. High byte i, bit b: value
// 32 b + i. Scale of part p: its low four bits are a nibble of bytes 0..7 (low for p < 8, else
// high), its two high bits are bits 2 (p / 4) and up of byte 8 + p mod 4.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ3_K> {
  struct Block {
    std::uint8_t high_bits[32];
    std::uint8_t codes[64];
    std::uint8_t scales[12];
    std::uint16_t d;
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 16>& out) {
    for (int i = 0; i < 256; ++i) {
      const int byte = block.codes[i / 128 * 32 + i % 32];
      const int low = (byte >> (i % 128 / 32 * 2)) & 3;
      const int high = (block.high_bits[i % 32] >> (i / 32)) & 1;
      out.codes[i] = static_cast<std::int8_t>(low + 4 * high - 4);
    }
    for (int part = 0; part < 16; ++part) {
      const int low = part < 8 ? block.scales[part] & 15 : block.scales[part - 8] >> 4;
      const int high = (block.scales[8 + part % 4] >> (part / 4 * 2)) & 3;
      out.scales[part] = low + 16 * high - 32;
      out.minima[part] = 0;
    }
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
