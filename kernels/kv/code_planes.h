// Codes of a block of 32 channels × 32 positions to its planes and back (kernels/kv/kv_format.h has
// the layout). For encoding and for tests: kernels read them by vectors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv/kv_format.h"

namespace hearth::kernels {

// `codes`: [32 positions][stride], of which the first 32 channels are the block's.
void pack_codes(KvFormat format, KvPart part, const std::uint8_t* codes, std::size_t stride,
                std::byte* block);
void unpack_codes(KvFormat format, KvPart part, const std::byte* block, std::size_t stride,
                  std::uint8_t* codes);

// What is computed with in the place of a stored code.
int kv_code_value(KvFormat format, std::uint8_t code);

}  // namespace hearth::kernels
