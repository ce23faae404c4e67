// IQ1_M: 256 values in 56 bytes, value = d / 8 × (2 × scale + 1) × (grid + shift), parts of 16;
// grid is -8, 0 or 8, shift 1 or -1.
//
//   0               32                             48                  56
//   +---------------+------------------------------+-------------------+
//   | 32: low index | 16: high index and shift     | 4 × u16: scales,d |
//   +---------------+------------------------------+-------------------+
// Group g is values 8 g to 8 g + 7. Its index: low byte g, and the low three bits of nibble g of
// the high ones; the nibble's fourth bit: the shift is -1. Scale of part p: bits 3 (p mod 4) and up
// of the u16 p / 4. The high four bits of the four u16 are the f16 d, lowest first.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ1_M> {
  struct Block {
    std::uint8_t low[32];
    std::uint8_t high[16];
    std::uint16_t scales[4];
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 16>& out) {
    for (int i = 0; i < 256; ++i) {
      const int group = i / 8;
      const int nibble = (block.high[group / 2] >> (group % 2 * 4)) & 15;
      const auto index = static_cast<std::size_t>(block.low[group] + 256 * (nibble & 7));
      out.codes[i] =
          static_cast<std::int8_t>(grid_value(kIq1Grid.at[index], i % 8) + (nibble > 7 ? -1 : 1));
    }
    for (int part = 0; part < 16; ++part) {
      const int scale = (block.scales[part / 4] >> (part % 4 * 3)) & 7;
      out.scales[part] = 2 * scale + 1;
      out.minima[part] = 0;
    }
    unsigned d = 0;
    for (int i = 0; i < 4; ++i) d |= static_cast<unsigned>(block.scales[i] >> 12) << (4 * i);
    out.d = f32_of_f16(static_cast<std::uint16_t>(d)) / 8;
    out.m = 0;
  }
};

}  // namespace hearth::kernels
