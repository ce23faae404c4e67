#include "runtime/gpu/device_prefetch.h"

namespace hearth::runtime {

PrefetchScratch::PrefetchScratch(const Model& model, DeviceArena& arena)
    : most(model.config.experts_used) {
  DeviceNeeds needs;
  for (const Layer& layer : model.layers)
    for (const auto& block : layer.blocks) block->device_needs(needs);
  constexpr std::uint64_t kRows = kMostPrefetchRows;
  const std::uint64_t pairs = kRows * model.config.experts_used;
  normed =
      DeviceActivations(kMostPrefetchRows, needs.normed_apart ? model.config.embedding : 0, arena);
  scores = arena.take<float>(kRows * model.config.experts);
  ids = arena.take<std::uint16_t>(pairs);
  weights = arena.take<float>(pairs);
  for (List& list : lists)
    list = {.fetches = arena.take<kernels::ExpertFetch>(most),
            .count = arena.take<std::uint32_t>(1)};
}

profiler::PrefetchCounts prefetches_of(std::span<const kernels::ExpertCounters> layers) {
  profiler::PrefetchCounts all;
  for (const kernels::ExpertCounters& layer : layers) {
    all.issued += layer.prefetched;
    all.used += layer.prefetches_used;
  }
  return all;
}

DevicePrefetch::DevicePrefetch(const PrefetchScratch& scratch, kernels::Device& device)
    : scratch_(scratch),
      stream_(device.new_stream(kernels::StreamPriority::kHigh)),
      guessed_(device.new_event(kernels::EventTiming::kNone)) {}

kernels::Stream& DevicePrefetch::begin(const kernels::Event& event) const {
  stream_->wait(event);
  return *stream_;
}

}  // namespace hearth::runtime
