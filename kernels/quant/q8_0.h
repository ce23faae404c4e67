// Q8_0: 32 values in 34 bytes, value = d × code.
//
//   0   2                               34
//   +---+-------------------------------+
//   | d | 32 codes, int8                |
//   +---+-------------------------------+
//    f16
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kQ8_0> {
  struct Block {
    std::uint16_t d;
    std::int8_t codes[32];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    std::memcpy(out.codes, block.codes, 32);
    out.scales[0] = 1;
    out.minima[0] = 0;
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
