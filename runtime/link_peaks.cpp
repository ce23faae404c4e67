#include "runtime/link_peaks.h"

#include <algorithm>

#include "io/disk_probe.h"
#include "kernels/memory_probe.h"

namespace hearth::runtime {
namespace {

// Several times the last-level cache share of a core on current machines.
constexpr Bytes kBeyondCaches = Bytes(256 << 20);

double ram_peak(Engine& engine) {
  const std::span<const std::byte> largest = engine.largest_arena();
  if (largest.size() >= kBeyondCaches.count)
    return kernels::probe_memory(engine.pool(), largest.first(kBeyondCaches.count));
  if (engine.ram_is_bounded()) return 0;
  const io::Arena temporary(kBeyondCaches);
  return kernels::probe_memory(engine.pool(), temporary.bytes());
}

double disk_peak(Engine& engine) {
  engine.experts().settle();
  std::uint64_t matrix = 0;
  for (std::uint32_t l = 0; l < engine.model().experts.layers(); ++l)
    for (const ExpertSlab& slab : engine.model().experts.layer(static_cast<LayerIndex>(l)).slabs)
      matrix = std::max(matrix, slab.bytes);
  if (matrix == 0) return 0;
  // The reads go to memory of their own, which must stay small beside a budget.
  constexpr std::uint64_t kProbeMemory = 12 << 20;
  const auto depth =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kProbeMemory / matrix, 4, 32));
  return io::probe_disk(engine.reader(),
                        {.file = 0,
                         .file_size = engine.file().part_bytes(0),
                         .read_size = Bytes(matrix),
                         .queue_depth = depth},
                        engine.clock())
      .bytes_per_second();
}

}  // namespace

LinkPeaks measure_link_peaks(Engine& engine) { return {disk_peak(engine), ram_peak(engine)}; }

}  // namespace hearth::runtime
