// IQ1_S: 256 values in 50 bytes, value = d / 8 × (2 × scale + 1) × (grid + shift), parts of 32;
// grid is -8, 0 or 8, shift 1 or -1.
//
//   0   2               34                                      50
//   +---+---------------+---------------------------------------+
//   | d | 32: low index | 8 × u16: high index, scale, shift     |
//   +---+---------------+---------------------------------------+
//    f16
// Group g is values 8 g to 8 g + 7. Its index: low byte g, and bits 3 (g mod 4) and up of the u16
// of its part. Bits 12 to 14 of that: the scale; bit 15: the shift is -1.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/grids.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kIQ1_S> {
  struct Block {
    std::uint16_t d;
    std::uint8_t low[32];
    std::uint16_t high[8];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<256, 32>& out) {
    for (int i = 0; i < 256; ++i) {
      const int high = block.high[i / 32];
      const int index = block.low[i / 8] + 256 * ((high >> (i / 8 % 4 * 3)) & 7);
      const int shift = high >> 15 != 0 ? -1 : 1;
      out.codes[i] = static_cast<std::int8_t>(
          grid_value(kIq1Grid.at[static_cast<std::size_t>(index)], i % 8) + shift);
    }
    for (int part = 0; part < 8; ++part) {
      out.scales[part] = 2 * ((block.high[part] >> 12) & 7) + 1;
      out.minima[part] = 0;
    }
    out.d = f32_of_f16(block.d) / 8;
    out.m = 0;
  }
};

}  // namespace hearth::kernels
