// Measures how fast the threads of a pool together read memory: the peak that reports compare with.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/worker_pool.h"

namespace hearth::kernels {

// Bytes per second, the best of a few passes over `memory` (at least 1 MiB; larger than the caches,
// or the figure is theirs). Changes nothing in it.
double probe_memory(WorkerPool& pool, std::span<const std::byte> memory);

}  // namespace hearth::kernels
