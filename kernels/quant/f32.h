// F32: one little-endian IEEE 754 binary32 per value.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kF32> {
  using Block = float;
  static float decode(Block value) { return value; }
};

}  // namespace hearth::kernels
