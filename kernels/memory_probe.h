// Measures how fast the threads of a pool together read memory: the peak that reports compare with.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/worker_pool.h"

namespace hearth::kernels {

// Bytes per second, the best of a few passes over `memory` (at least 1 MiB; larger than the caches,
// or the figure is theirs). Changes nothing in it.
double probe_memory(WorkerPool& pool, std::span<const std::byte> memory);

// The same, but the median over pieces of 16 MiB (at least one) that follow each other: what is
// sustained. Other processes that get a time slice now and then do not change it.
double probe_memory_median(WorkerPool& pool, std::span<const std::byte> memory);

}  // namespace hearth::kernels
