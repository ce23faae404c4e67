// F16: one little-endian IEEE 754 binary16 per value.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kF16> {
  using Block = std::uint16_t;
  static float decode(Block value) { return f32_of_f16(value); }
};

}  // namespace hearth::kernels
