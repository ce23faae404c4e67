// Measures how fast the threads of a pool together read memory: the peak that reports compare with.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/worker_pool.h"

namespace hearth::kernels {

// Bytes per second, the best of a few passes over `memory` (at least 1 MiB; larger than the caches,
// or the figure is theirs). Changes nothing in it.
double probe_memory(WorkerPool& pool, std::span<const std::byte> memory);

// The same as it is sustained: over pieces of 2 MiB for each thread (at least one) that follow each
// other, the rate that a quarter of them exceed. Those that lost a time slice to another process do
// not change it, and the best do not flatter it.
double probe_memory_sustained(WorkerPool& pool, std::span<const std::byte> memory);

}  // namespace hearth::kernels
