// Keys or values of a step's rows into the cache of a layer (runtime/kv_cache.h): first all rows
// are stored, then the tiles are encoded that rows of the step are the first to read in the format.
// What is written is byte for byte what the CPU writes.
#pragma once

#include <cstdint>

#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {

// Rows go to the tile of their position: in the format where it is one of floats, else in f16 to
// the ring or the sink. A tile whose first position is among them has zeros where no row is.
struct StoreKvTask {
  std::uint32_t rows = 0;
  std::uint32_t heads = 0;
  const std::uint32_t* position = nullptr;  // of the first row, in device memory
  const float* x = nullptr;                 // rotated: row r, head h at x[r × stride + h × dim]
  std::uint64_t stride = 0;
  KvMemory to;
};

// Nothing is done for formats of floats.
struct EncodeKvTask {
  std::uint32_t rows = 0;
  std::uint32_t heads = 0;
  const std::uint32_t* position = nullptr;
  std::uint32_t tail = 0;
  KvMemory memory;
};

}  // namespace hearth::kernels
