// IQ2_XS: 256 values in 74 bytes, value = d / 8 × (2 × scale + 1) × sign × grid, parts of 16.
//
//   0   2                                        66            74
//   +---+----------------------------------------+-------------+
//   | d | 32 × u16: 9 bits of index, 7 of signs  | 8: scales   |
//   +---+----------------------------------------+-------------+
//    f16
// Entry g: values 8 g to 8 g + 7, their signs as in kEvenSigns. Scale of part p: nibble p.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ2_XS> {
  struct Block {
    std::uint16_t d;
    std::uint16_t entries[32];
    std::uint8_t scales[8];
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 16>& out) {
    for (int i = 0; i < 256; ++i) {
      const int entry = block.entries[i / 8];
      out.codes[i] = static_cast<std::int8_t>(
          grid_value(kIq2XsGrid.at[static_cast<std::size_t>(entry & 511)], i % 8) *
          grid_value(kEvenSigns.at[static_cast<std::size_t>(entry >> 9)], i % 8));
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
