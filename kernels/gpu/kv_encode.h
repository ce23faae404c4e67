// Tiles of a layer's cache (runtime/kv_cache.h) into their format, when all rows of a step are
// stored (turn.h): those that rows of the step are the first to read so. What is written is byte
// for byte what the CPU writes.
#pragma once

#include <cstdint>

#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {

struct EncodeKvTask {
  std::uint32_t rows = 0;
  std::uint32_t heads = 0;
  const std::uint32_t* position = nullptr;  // of the first row, in device memory
  std::uint32_t tail = 0;                   // newest positions that are read as f16, at least
  // Keys and values, in any formats; nothing is done for those of floats, or for one that is none.
  KvMemory parts[2];
};

}  // namespace hearth::kernels
