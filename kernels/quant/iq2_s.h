// IQ2_S: 256 values in 82 bytes, value = d / 8 × (2 × scale + 1) × sign × grid, parts of 16.
//
//   0   2               34          66             74          82
//   +---+---------------+-----------+--------------+-----------+
//   | d | 32: low index | 32: signs | 8: high index| 8: scales |
//   +---+---------------+-----------+--------------+-----------+
//    f16
// Group g is values 8 g to 8 g + 7. Its index: low byte g, and bits 2 (g mod 4) and up of high
// byte g / 4; its signs: byte g. Scale of part p: nibble p.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ2_S> {
  struct Block {
    std::uint16_t d;
    std::uint8_t low[32];
    std::uint8_t signs[32];
    std::uint8_t high[8];
    std::uint8_t scales[8];
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 16>& out) {
    for (int i = 0; i < 256; ++i) {
      const int group = i / 8;
      const int high = (block.high[group / 4] >> (group % 4 * 2)) & 3;
      const auto index = static_cast<std::size_t>(block.low[group] + 256 * high);
      out.codes[i] = static_cast<std::int8_t>(grid_value(kIq2SGrid.at[index], i % 8) *
                                              grid_value(kSigns.at[block.signs[group]], i % 8));
    }
    for (int part = 0; part < 16; ++part) {
      const int scale = (block.scales[part / 2] >> (part % 2 * 4)) & 15;
      out.scales[part] = 2 * scale + 1;
      out.minima[part] = 0;
    }
    out.d = f32_of_f16(block.d) / 8;
    out.m = 0;
  }
};

}  // namespace hearth::kernels
