// What steps and chunks of prompts on a device did, and what they cost beside computing, for
// reports.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "kernels/gpu/expert_tables.h"
#include "profiler/machine.h"

namespace hearth::runtime {

// Experts of chunks: of each layer all of them, each once for all rows of a chunk.
struct ChunkCounters {
  std::uint64_t resident = 0;  // had a slot
  std::uint64_t staged = 0;    // were copied over the link
  Bytes staged_bytes;
};

// Since the start, all decoders of a model together; the difference of two is a phase.
struct DeviceWork {
  std::uint64_t steps = 0;
  std::uint64_t chunks = 0;  // of prompts; all else goes in steps
  // Calls of the host. A launch is that of a graph, a kernel, a copy or a fill: a step is one at
  // least, a chunk, which is no graph, hundreds. Steps and chunks are waited for once.
  std::uint64_t launches = 0;
  std::uint64_t nodes = 0;  // the same, with the kernels, copies and flags of a graph for it
  std::uint64_t waits = 0;
  std::uint64_t launches_of_chunks = 0;   // of these
  std::uint64_t waits_of_chunks = 0;      // likewise
  std::uint64_t waits_before_chunks = 0;  // of the latter, to see where experts are

  // Of all layers, by steps.
  kernels::ExpertCounters experts;
  Bytes hit_bytes, fetched_bytes, prefetched_bytes, on_host_bytes;

  ChunkCounters of_chunks;

  Nanoseconds on_host{0};  // that the CPU read and computed what it was handed over

  // How often the host waited while a step or a chunk was under way.
  std::uint64_t waits_inside() const { return waits - waits_before_chunks - steps - chunks; }
  Bytes read_from_vram() const { return hit_bytes + fetched_bytes; }
  Bytes gathered_bytes() const { return fetched_bytes + prefetched_bytes; }  // by kernels
  Bytes link_bytes() const { return gathered_bytes() + of_chunks.staged_bytes; }
  std::uint64_t chosen() const { return experts.hits + experts.fetched + experts.on_host; }
  std::uint64_t passed() const { return of_chunks.resident + of_chunks.staged; }  // in chunks

  DeviceWork& operator+=(const DeviceWork& other);
};
DeviceWork operator-(const DeviceWork& end, const DeviceWork& begin);

// What the link could have carried of such work in a second: kernels read from the host's memory at
// one measured rate, chunks are copied at another. 0: not measured.
profiler::BytesPerSecond link_peak(const DeviceWork& work, const profiler::GpuMachine& rates);

}  // namespace hearth::runtime
