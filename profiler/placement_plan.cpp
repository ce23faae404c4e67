#include "profiler/placement_plan.h"

#include <numeric>

namespace hearth::profiler {

std::uint32_t TierPlan::slots() const {
  return std::accumulate(slots_of_class.begin(), slots_of_class.end(), 0u);
}

}  // namespace hearth::profiler
