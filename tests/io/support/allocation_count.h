// Counts calls of the global operator new of this test program, all threads together.
#pragma once

#include <cstdint>

namespace hearth {

std::uint64_t allocation_count();

}  // namespace hearth
