#include "profiler/replay_setup.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {

ReplaySteps steps_of(const RoutingTrace& trace, const ReplayOptions& options) {
  const ReplaySteps steps{.first = options.first_step,
                          .counted = std::max(options.first_step, options.count_from),
                          .last = options.last_step.value_or(trace.steps())};
  CHECK_LE(steps.counted, steps.last);
  CHECK_LE(steps.last, trace.steps());
  return steps;
}

std::vector<ExpertId> seed_that_fits(const RoutingTrace& trace, const ReplayMemory& memory,
                                     const ReplayOptions& options) {
  const ExpertSpace space = trace.header().space();
  std::vector<std::uint32_t> free = memory.slots_of_class;
  std::vector<ExpertId> fitting;
  for (const ExpertId id : options.seed) {
    CHECK(space.contains(id));
    const std::uint8_t size_class = memory.size_class_of[space.flat(id)];
    CHECK_LT(size_class, free.size());
    if (free[size_class] == 0) continue;
    --free[size_class];
    fitting.push_back(id);
  }
  return fitting;
}

ReplayResult empty_result(const RoutingTrace& trace, const ReplaySteps& steps) {
  ReplayResult result;
  result.layers.resize(trace.header().model.layers);
  for (std::size_t step = steps.counted; step < steps.last; ++step)
    result.rows += trace.step(step).rows;
  return result;
}

}  // namespace hearth::profiler
