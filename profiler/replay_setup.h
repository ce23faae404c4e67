// What every kind of replay settles before its first step.
#pragma once

#include <vector>

#include "profiler/replay.h"

namespace hearth::profiler {

// The steps of a replay: [first, counted) warm up, [counted, last) count.
struct ReplaySteps {
  std::size_t first = 0;
  std::size_t counted = 0;
  std::size_t last = 0;
};
ReplaySteps steps_of(const RoutingTrace& trace, const ReplayOptions& options);

// Of the seed: the first of each class, as many as it has slots.
std::vector<ExpertId> seed_that_fits(const RoutingTrace& trace, const ReplayMemory& memory,
                                     const ReplayOptions& options);

// Nothing counted but the tokens, and a row of counters for every layer.
ReplayResult empty_result(const RoutingTrace& trace, const ReplaySteps& steps);

}  // namespace hearth::profiler
