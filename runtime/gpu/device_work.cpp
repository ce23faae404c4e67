#include "runtime/gpu/device_work.h"

namespace hearth::runtime {
namespace {

// The list of its numbers, once for both operators.
template <typename Visit>
void visit(DeviceWork& to, const DeviceWork& from, Visit&& each) {
  each(to.steps, from.steps);
  each(to.chunks, from.chunks);
  each(to.launches, from.launches);
  each(to.nodes, from.nodes);
  each(to.waits, from.waits);
  each(to.launches_of_chunks, from.launches_of_chunks);
  each(to.waits_of_chunks, from.waits_of_chunks);
  each(to.waits_before_chunks, from.waits_before_chunks);
  each(to.experts.hits, from.experts.hits);
  each(to.experts.fetched, from.experts.fetched);
  each(to.experts.on_host, from.experts.on_host);
  each(to.experts.not_in_ram, from.experts.not_in_ram);
  each(to.experts.evictions, from.experts.evictions);
  each(to.experts.faults, from.experts.faults);
  each(to.experts.prefetched, from.experts.prefetched);
  each(to.experts.prefetches_used, from.experts.prefetches_used);
  each(to.experts.prefetches_dropped, from.experts.prefetches_dropped);
  each(to.hit_bytes, from.hit_bytes);
  each(to.fetched_bytes, from.fetched_bytes);
  each(to.prefetched_bytes, from.prefetched_bytes);
  each(to.on_host_bytes, from.on_host_bytes);
  each(to.of_chunks.resident, from.of_chunks.resident);
  each(to.of_chunks.staged, from.of_chunks.staged);
  each(to.of_chunks.staged_bytes, from.of_chunks.staged_bytes);
  each(to.on_host, from.on_host);
}

}  // namespace

DeviceWork& DeviceWork::operator+=(const DeviceWork& other) {
  visit(*this, other, [](auto& to, const auto& from) { to = to + from; });
  return *this;
}

DeviceWork operator-(const DeviceWork& end, const DeviceWork& begin) {
  DeviceWork difference = end;
  visit(difference, begin, [](auto& to, const auto& from) { to = to - from; });
  return difference;
}

profiler::BytesPerSecond link_peak(const DeviceWork& work, const profiler::GpuMachine& rates) {
  if (work.link_bytes() == Bytes(0)) return work.chunks > 0 ? rates.host_to_device : rates.gather;
  double seconds = 0;
  const auto add = [&](Bytes bytes, profiler::BytesPerSecond rate) {
    if (bytes > Bytes(0)) seconds += static_cast<double>(bytes.count) / rate;
  };
  add(work.gathered_bytes(), rates.gather);
  add(work.of_chunks.staged_bytes, rates.host_to_device);
  return static_cast<double>(work.link_bytes().count) / seconds;
}

}  // namespace hearth::runtime
