// IQ2_XXS: 256 values in 66 bytes, value = d / 8 × (2 × scale + 1) × sign × grid, parts of 32.
//
//   0   2                                                              66
//   +---+--------------------------------------------------------------+
//   | d | 8 parts of: 4 bytes of grid indices, u32 of signs and scale  |
//   +---+--------------------------------------------------------------+
//    f16
// Bits 7 g and up of the u32: signs of values 8 g to 8 g + 7 of the part (kEvenSigns); bits 28 to
// 31: its scale.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ2_XXS> {
  struct Part {
    std::uint8_t grid[4];
    std::uint16_t signs[2];  // one u32, which need not be aligned
  };
  struct Block {
    std::uint16_t d;
    Part parts[8];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 32>& out) {
    for (int p = 0; p < 8; ++p) {
      const Part& part = block.parts[p];
      const std::uint32_t bits = part.signs[0] | (std::uint32_t{part.signs[1]} << 16);
      for (int i = 0; i < 32; ++i) {
        const std::uint64_t signs = kEvenSigns.at[(bits >> (i / 8 * 7)) & 127];
        out.codes[32 * p + i] = static_cast<std::int8_t>(
            grid_value(kIq2XxsGrid.at[part.grid[i / 8]], i % 8) * grid_value(signs, i % 8));
      }
      out.scales[p] = 2 * (bits >> 28) + 1;
      out.minima[p] = 0;
    }
    out.d = f32_of_f16(block.d) / 8;
    out.m = 0;
  }
};

}  // namespace hearth::kernels
