// IQ3_S: 256 values in 110 bytes, value = d × (2 × scale + 1) × sign × grid, parts of 32.
//
//   0   2               66             74          106         110
//   +---+---------------+--------------+-----------+-----------+
//   | d | 64: low index | 8: high index| 32: signs | 4: scales |
//   +---+---------------+--------------+-----------+-----------+
//    f16
// Index j of values 4 j to 4 j + 3: low byte j, and bit j mod 8 of high byte j / 8. Signs of values
// 8 g to 8 g + 7: byte g. Scale of part p: nibble p.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ3_S> {
  struct Block {
    std::uint16_t d;
    std::uint8_t low[64];
    std::uint8_t high[8];
    std::uint8_t signs[32];
    std::uint8_t scales[4];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 32>& out) {
    for (int i = 0; i < 256; ++i) {
      const int j = i / 4;
      const int high = (block.high[j / 8] >> (j % 8)) & 1;
      const auto index = static_cast<std::size_t>(block.low[j] + 256 * high);
      out.codes[i] = static_cast<std::int8_t>(grid_value(kIq3SGrid.at[index], i % 4) *
                                              grid_value(kSigns.at[block.signs[i / 8]], i % 8));
    }
    for (int part = 0; part < 8; ++part) {
      const int scale = (block.scales[part / 2] >> (part % 2 * 4)) & 15;
      out.scales[part] = 2 * scale + 1;
      out.minima[part] = 0;
    }
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
