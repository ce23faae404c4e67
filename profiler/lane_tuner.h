// How a device's steps use their lanes, by the time that steps really take: how many misses are
// fetched (profiler/split_tuner.h), and how much of the next layer's guess is prefetched in the
// time that the link is idle otherwise (profiler/prefetch_budget.h).
//
// Only one of the two tries something at a time, and the other stays as it is: their trials
// alternate in the same rhythm, so that neither could tell its own effect from the other's.
//
// A prefetch has what the link carries in a layer's time, less the fetches of the layer: what is
// gathered then stands before no fetch of the next. Layers have their share of the step, as
// measured over 16 steps.
//
// Pure and deterministic: it sees one step after another and no clock.
#pragma once

#include <cstdint>
#include <optional>

#include "profiler/machine.h"
#include "profiler/prefetch_budget.h"
#include "profiler/split_tuner.h"

namespace hearth::profiler {

// The link of a device, and what of a model goes over it.
struct PrefetchLink {
  BytesPerSecond rate = 0;
  std::uint32_t layers = 0;  // with experts
  Bytes largest_expert;
  std::uint32_t experts_per_token = 0;  // top-k
  double layer_seconds = 0;             // that a layer takes, until it was measured
};

// Since the start, all layers together.
struct PrefetchCounts {
  std::uint64_t issued = 0;
  std::uint64_t used = 0;
};

class LaneTuner {
 public:
  // Of a FetchLadder with so many rungs, from one of them on. Without a link nothing is prefetched.
  LaneTuner(std::uint32_t rungs, std::uint32_t start, const std::optional<PrefetchLink>& link);

  // For the next step.
  std::uint32_t rung() const { return split_.rung(); }
  bool prefetches() const { return prefetch_limit(0) > 0; }
  // How many experts may be prefetched beside so many fetches of a layer.
  std::uint32_t prefetch_limit(std::uint32_t fetches) const;

  // After each step of one token; the counts may be as old as a window of a trial.
  void observe(Nanoseconds step_time, const PrefetchCounts& counts);

  const SplitTuner& split() const { return split_; }
  const PrefetchBudget& prefetch() const { return prefetch_; }

 private:
  void measure_layers(Nanoseconds step_time);

  const std::optional<PrefetchLink> link_;
  SplitTuner split_;
  PrefetchBudget prefetch_;
  PrefetchCounts seen_;
  double window_seconds_ = 0;
  std::uint32_t window_steps_ = 0;
  double layer_seconds_ = 0;
};

}  // namespace hearth::profiler
