// IQ3_XXS: 256 values in 98 bytes, value = d / 4 × (2 × scale + 1) × sign × grid, parts of 32.
//
//   0   2                        66                            98
//   +---+------------------------+-----------------------------+
//   | d | 64: grid indices       | 8 × u32: signs and scale    |
//   +---+------------------------+-----------------------------+
//    f16
// Index j: values 4 j to 4 j + 3. The u32 of a part as in IQ2_XXS.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ3_XXS> {
  struct Block {
    std::uint16_t d;
    std::uint8_t grid[64];
    std::uint16_t signs[8][2];  // u32, which need not be aligned
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 32>& out) {
    for (int p = 0; p < 8; ++p) {
      const std::uint32_t bits = block.signs[p][0] | (std::uint32_t{block.signs[p][1]} << 16);
      for (int i = 0; i < 32; ++i) {
        const std::uint64_t signs = kEvenSigns.at[(bits >> (i / 8 * 7)) & 127];
        out.codes[32 * p + i] =
            static_cast<std::int8_t>(grid_value(kIq3XxsGrid.at[block.grid[8 * p + i / 4]], i % 4) *
                                     grid_value(signs, i % 8));
      }
      out.scales[p] = 2 * (bits >> 28) + 1;
      out.minima[p] = 0;
    }
    out.d = f32_of_f16(block.d) / 4;
    out.m = 0;
  }
};

}  // namespace hearth::kernels
