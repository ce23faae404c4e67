// Counts what this test binary takes from the heap.
#pragma once

#include <cstdint>

namespace hearth::testing {

std::uint64_t allocations();  // calls of operator new so far, on all threads

}  // namespace hearth::testing
