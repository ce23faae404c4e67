// The quantization of values that share one scale: d, m and codes.
#pragma once

#include <cstdint>

#include "kernels/kv/kv_format.h"

namespace hearth::kernels {

struct CodedBlock {
  std::uint16_t d = 0;  // f16
  std::uint16_t m = 0;
  std::uint8_t codes[kKvSlice];  // as stored: signed ones of q8_0 in two's complement
};

// 32 values, as the GGUF formats of the same names define them; for TurboQuant the `n` values of a
// slice. Values that are not finite make d NaN, so that they reach the logits check.
CodedBlock encode_block(KvFormat format, const float* values, std::uint32_t n);

}  // namespace hearth::kernels
