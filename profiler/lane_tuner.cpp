#include "profiler/lane_tuner.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {

LaneTuner::LaneTuner(std::uint32_t rungs, std::uint32_t start,
                     const std::optional<PrefetchLink>& link)
    : link_(link),
      split_(rungs, start),
      prefetch_({.largest_expert = link ? link->largest_expert : Bytes(0),
                 .experts_per_token = link ? link->experts_per_token : 1}),
      layer_seconds_(link ? link->layer_seconds : 0) {
  CHECK(!link || (link->layers > 0 && link->largest_expert > Bytes(0)));
}

std::uint32_t LaneTuner::prefetch_limit(std::uint32_t fetches) const {
  if (!link_) return 0;
  const auto wanted = static_cast<std::uint32_t>(prefetch_.next_layer() / link_->largest_expert);
  const double carried =
      layer_seconds_ * link_->rate / static_cast<double>(link_->largest_expert.count);
  const double left = std::max(carried - fetches, 0.0);
  return static_cast<std::uint32_t>(std::min<double>(wanted, left));
}

void LaneTuner::observe(Nanoseconds step_time, const PrefetchCounts& counts) {
  measure_layers(step_time);
  const bool trying = prefetch_.mode() == PrefetchBudget::Mode::kTrial;
  if (!link_ || !split_.resting() || !trying) split_.observe(step_time);
  if (!link_ || !split_.resting()) return;
  prefetch_.observe({.step_time = step_time,
                     .issued = static_cast<std::uint32_t>(counts.issued - seen_.issued),
                     .used = static_cast<std::uint32_t>(counts.used - seen_.used)});
  seen_ = counts;
}

void LaneTuner::measure_layers(Nanoseconds step_time) {
  if (!link_) return;
  window_seconds_ += seconds(step_time);
  if (++window_steps_ < PairedTrial::kWindowSteps) return;
  layer_seconds_ = window_seconds_ / (window_steps_ * link_->layers);
  window_seconds_ = 0;
  window_steps_ = 0;
}

}  // namespace hearth::profiler
