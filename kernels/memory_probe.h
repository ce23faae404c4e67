// Measures how fast the threads of a pool together read memory: the peak that reports compare with.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/worker_pool.h"

namespace hearth::kernels {

// Bytes per second of one read of `memory`, in whole pieces of 256 KiB.
double read_memory(WorkerPool& pool, std::span<const std::byte> memory);

// Bytes per second of pieces of `memory` that follow each other, 2 MiB for each thread (or all,
// where that is less): the rate that a quarter of them exceed. Those that lost a time slice to
// another process do not change it, and the best do not flatter it. Nothing is read twice: a second
// pass over 256 MiB was up to a quarter faster where a server's last cache has 260 MiB. Where the
// caches hold what was written to the memory before, the figure is theirs.
double probe_memory(WorkerPool& pool, std::span<const std::byte> memory);

}  // namespace hearth::kernels
