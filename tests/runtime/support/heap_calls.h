// Counts what the process asks of its heap: malloc, calloc, realloc and aligned memory, on every
// thread, and with them operator new, which is built on malloc.
#pragma once

#include <cstdint>

namespace hearth::testing {

std::uint64_t heap_calls();  // since the start of the process

}  // namespace hearth::testing
