// What the links of this machine can carry, measured with the engine's own reader, memory and
// threads, so that a report can say how near to it a run came.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/worker_pool.h"
#include "runtime/engine.h"

namespace hearth::runtime {

struct LinkPeaks {
  double disk_bytes_per_second = 0;  // of experts fetched from random places; 0: not measured
  double ram_bytes_per_second = 0;   // all threads reading; 0: not measured
};

// What weights in RAM are read at by a plain loop of the engine's threads, where they lie: read a
// stretch between steps, so that both meet the same memory. On a machine that others share, its
// speed changes by half within seconds.
class MemoryMeter {
 public:
  static constexpr Bytes kStretch = Bytes(128 << 20);

  // Null where less than 256 MiB lie together: the caches would be measured.
  static std::unique_ptr<MemoryMeter> of(Engine& engine);
  // `memory` is at least a stretch.
  MemoryMeter(kernels::WorkerPool& pool, std::span<const std::byte> memory);

  std::span<const std::byte> read();  // the next stretch, some milliseconds; returns it
  double bytes_per_second() const;    // of all stretches; at least one was read

 private:
  kernels::WorkerPool& pool_;
  std::span<const std::byte> memory_;
  std::size_t at_ = 0;  // of the next stretch
  std::uint64_t stretches_ = 0;
  double seconds_ = 0;
};

// Takes about half a second, less where the model is small. Leaves the expert memory empty. Memory
// is measured on the engine's largest arena, or, where that would fit the caches, on a temporary
// one, unless --ram forbids it or little memory is free.
LinkPeaks measure_link_peaks(Engine& engine);

}  // namespace hearth::runtime
