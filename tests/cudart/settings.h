// What the environment asks of the stand-in, and the random numbers it draws.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace hearth::cudart {

struct Settings {
  Bytes memory;        // HEARTH_CUDART_MEMORY, in MiB: of the device
  int capability;      // HEARTH_CUDART_CAPABILITY, 90 for 9.0: what the device says it is
  std::uint64_t seed;  // HEARTH_CUDART_SEED: of orders, delays, and what lies in new memory
  std::uint64_t failing_kernel;  // HEARTH_CUDART_FAIL_AT: this one of all that run traps; 0: none
  bool memory_operations;        // not HEARTH_CUDART_NO_MEMOPS: the driver has cuStreamWriteValue32
  bool captures_early_launches;  // not HEARTH_CUDART_NO_EARLY: else capturing them is refused
  bool weak_memory;              // HEARTH_CUDART_WEAK: see tests/ptx/weak_memory.h
  bool one_by_one;               // HEARTH_CUDART_ONE_BY_ONE: the nodes of a graph
  bool fails_on_leaks;     // HEARTH_CUDART_LEAKS: what is left at the end makes the exit code 1
  bool explains_refusals;  // HEARTH_CUDART_EXPLAIN: each refused call is a line with its reason
};
const Settings& settings();

// Other at each call; which thread gets which number is not determined.
std::uint64_t draw();

}  // namespace hearth::cudart
