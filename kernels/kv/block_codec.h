// The quantization of 32 values to a block of one scale: d, m and codes, as the GGUF formats of the
// same names define them.
#pragma once

#include <cstdint>

#include "kernels/kv/kv_format.h"

namespace hearth::kernels {

struct CodedBlock {
  std::uint16_t d = 0;  // f16
  std::uint16_t m = 0;
  std::uint8_t codes[kKvBlock];  // as stored: signed ones of q8_0 in two's complement
};

// Values that are not finite make d NaN, so that they reach the logits check.
CodedBlock encode_block(KvFormat format, const float* values);

// What a stored code is multiplied with d: the code minus its offset, or a table entry.
int kv_code_value(KvFormat format, std::uint8_t code);

}  // namespace hearth::kernels
