// BF16: the upper half of a little-endian IEEE 754 binary32 per value.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kBF16> {
  using Block = std::uint16_t;
  static float decode(Block value) { return f32_of_bf16(value); }
};

}  // namespace hearth::kernels
