// What tokens leave in a cache of keys and values, wherever it lies: the pieces of a session file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "kernels/kv/kv_layout.h"
#include "runtime/kv_cache.h"

namespace hearth::runtime {

// Of a format, the row at `position` reads positions before this in it, but for those of a sink.
std::uint32_t encoded_before(const kernels::KvFormatTraits& format, std::uint32_t tail,
                             std::uint32_t position);

// All bytes that the tokens before `position` left in the keys or the values of a layer, piece by
// piece: of each head the tiles that are in their format, then those of the sink and of the ring.
// How a cache is divided depends on nothing but position, formats and heads, so that another one
// takes the pieces in the same order. The addresses are those of the memory, which may be a
// device's.
void visit_kv(const KvFormats& formats, const kernels::KvMemory& memory, std::uint32_t heads,
              std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit);

}  // namespace hearth::runtime
