#include "runtime/gpu/host_cache.h"

#include <span>

#include "base/error.h"
#include "runtime/gpu/mapped.h"

namespace hearth::runtime {

using kernels::ResolveTask;

namespace {

// What a resolve writes, of two tasks: one list serves the size, the addresses and the copies.
template <typename Visit>
void visit_lists(ResolveTask& one, const ResolveTask& other, std::uint32_t pairs, Visit&& visit) {
  visit(one.hits, other.hits, pairs);
  visit(one.fetched, other.fetched, pairs);
  visit(one.fetches, other.fetches, pairs);
  visit(one.fetch_count, other.fetch_count, 1u);
  visit(one.host_jobs, other.host_jobs, pairs);
  visit(one.host_count, other.host_count, 1u);
  visit(one.x_rows, other.x_rows, pairs);
  visit(one.x_weights, other.x_weights, pairs);
  visit(one.results, other.results, pairs);
}

// Returns how many bytes they have; without memory it counts.
std::uint64_t place_lists(ResolveTask& lists, std::uint32_t pairs, std::byte* memory) {
  constexpr std::uint64_t kListAlignment = 64;
  std::uint64_t bytes = 0;
  visit_lists(lists, {}, pairs, [&]<typename T>(T*& list, T*, std::uint32_t count) {
    if (memory != nullptr) list = reinterpret_cast<T*>(memory + bytes);
    bytes += round_up(count * sizeof(T), kListAlignment);
  });
  return bytes;
}

}  // namespace

Bytes HostCache::bytes_needed(std::uint32_t pairs) {
  ResolveTask counted;
  return Bytes(place_lists(counted, pairs, nullptr));
}

HostCache::HostCache(kernels::Device& device, std::uint32_t pairs, CpuLane& lane,
                     const Clock& clock, const StepBound& bound)
    : lane_(lane),
      clock_(clock),
      bound_(bound),
      routed_(device.new_event(kernels::EventTiming::kNone)),
      memory_(mapped_memory(device, bytes_needed(pairs), "the host's part of the expert cache")) {
  place_lists(lists_, pairs, memory_.data());
}

void HostCache::resolve(const ResolveTask& task, kernels::Stream& stream) {
  wait_for_router(task.layer, stream);
  const std::uint32_t pairs = task.rows * task.experts_used;
  ResolveTask on_host = task;
  visit_lists(on_host, lists_, pairs, [](auto& list, auto own, std::uint32_t) { list = own; });
  kernels::resolve_scalar(on_host);
  lists_ = on_host;
  visit_lists(lists_, task, pairs, [&]<typename T>(T* from, T* to, std::uint32_t count) {
    stream.copy(to, from, Bytes(count * sizeof(T)));
  });
}

void HostCache::fetch(kernels::Stream& link) const {
  const kernels::SlotLayout& layout = lists_.layout;
  for (const kernels::ExpertFetch& one : std::span(lists_.fetches, *lists_.fetch_count))
    for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part)
      link.copy(one.to + layout.offsets[part], one.from.parts[part], Bytes(layout.bytes[part]));
}

void HostCache::wait_for_router(std::uint32_t layer, kernels::Stream& stream) try {
  waits_ += 1;
  stream.record(*routed_);
  wait_for_step([&] { return routed_->reached(); }, lane_, clock_, bound_);
} catch (const Error& error) {
  throw_error(error.code(), "{} (the host waited for the router of layer {})", error.what(), layer);
}

}  // namespace hearth::runtime
