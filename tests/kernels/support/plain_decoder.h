// An independent reading of the weight formats for the tests: bytes to doubles, one value at a time
// and without any struct of kernels/quant. Of its tables only the code books, which are facts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "kernels/weight_format.h"

namespace hearth::kernels {

struct PlainValue {
  double value = 0;
  double magnitude = 0;  // the sum of the absolute values of the terms that make the value
};

// All values of the blocks in [data, data + bytes).
std::vector<PlainValue> plain_decode(WeightFormat format, const std::byte* data, std::size_t bytes);

// Sets every 16-bit float of a block; nothing for the formats without.
void write_scales(WeightFormat format, std::byte* block, FunctionRef<std::uint16_t()> scale);

}  // namespace hearth::kernels
