// What a weight format is: the layout of its block, and its decode to signed codes with integer
// scales and minima, the form that the specified arithmetic works on (kernels/arithmetic.h).
//
// A value of part p of a block stands for  d × scales[p] × code + m × minima[p].  Formats without
// integer scales have one part with scale 1 for each block; formats without a minimum have m = 0
// and never use it.
//
// Specializations of Codec live in kernels/quant/<format>.h, one file for each format:
//   struct Block            the bytes as they lie in a file; no alignment
//   kPart                   values that share an integer scale, 16 or 32
//   kHasMinimum
//   decode(block, out)      the definition of the format
// The decoders are for the scalar kernels and the tests. Sources built for a larger instruction set
// take only layouts and constants from here: an inline function that they instantiate could be the
// copy that the linker keeps for all.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/quant/half.h"
#include "kernels/weight_format.h"

namespace hearth::kernels {

template <WeightFormat format>
struct Codec;

template <int values, int part>
struct DecodedBlock {
  static constexpr int kParts = values / part;

  std::int8_t codes[values];
  std::int32_t scales[kParts];
  std::int16_t minima[kParts];
  float d;
  float m;
};

template <WeightFormat format>
using Decoded =
    DecodedBlock<static_cast<int>(traits(format).values_per_block), Codec<format>::kPart>;

}  // namespace hearth::kernels
