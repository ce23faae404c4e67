// An independent reading of the weight formats for the tests: bytes to doubles, one value at a time
// and without any table or struct of kernels/quant.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/weight_format.h"

namespace hearth::kernels {

struct PlainValue {
  double value = 0;
  double magnitude = 0;  // the sum of the absolute values of the terms that make the value
};

// All values of the blocks in [data, data + bytes).
std::vector<PlainValue> plain_decode(WeightFormat format, const std::byte* data, std::size_t bytes);

// Offsets of the 16-bit floats in a block; empty for the formats without.
std::vector<std::size_t> f16_offsets(WeightFormat format);

}  // namespace hearth::kernels
