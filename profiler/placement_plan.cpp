#include "profiler/placement_plan.h"

#include <algorithm>
#include <numeric>

namespace hearth::profiler {

std::uint32_t TierPlan::slots() const {
  return std::accumulate(slots_of_class.begin(), slots_of_class.end(), 0u);
}

std::uint32_t TierPlan::held() const {
  return std::accumulate(held_of_class.begin(), held_of_class.end(), 0u);
}

std::uint32_t PlacementPlan::slots_together(std::size_t size_class) const {
  const std::uint32_t in_ram = ram.slots_of_class[size_class];
  if (!vram) return in_ram;
  const std::uint32_t held = vram->held_of_class.empty() ? 0 : vram->held_of_class[size_class];
  return held + std::max(vram->slots_of_class[size_class] - held, in_ram);
}

std::vector<float> popularity_of_seed(const PlacementPlan& plan, const ExpertSpace& space) {
  if (plan.seed.empty()) return {};
  std::vector<float> uses(space.size(), 0.0f);
  for (std::size_t i = 0; i < plan.seed.size(); ++i)
    uses[space.flat(plan.seed[i])] = plan.seed_uses[i];
  return uses;
}

}  // namespace hearth::profiler
