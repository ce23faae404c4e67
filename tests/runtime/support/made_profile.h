// Profiles made by a seed: any popularity at all, for what must hold whatever was learned.
#pragma once

#include <memory>
#include <vector>

#include "base/random.h"
#include "profiler/expert_profile.h"
#include "runtime/model.h"

namespace hearth::testing {

// About a tenth of the experts was never used.
inline std::shared_ptr<const profiler::ExpertProfile> made_profile(const runtime::Model& model,
                                                                   std::uint64_t seed) {
  const ExpertSpace space = model.experts.space();
  std::vector<std::uint32_t> experts;
  for (LayerIndex layer = 0; layer < space.layers; ++layer)
    experts.push_back(model.experts.layer(layer).count);
  profiler::ExpertProfile profile =
      profiler::empty_profile({.layers = space.layers,
                               .experts_per_layer = space.experts_per_layer,
                               .experts_used = model.config.experts_used},
                              experts);
  Random random(seed);
  for (profiler::LayerProfile& layer : profile.layers) {
    for (profiler::ExpertHistory& expert : layer.experts) {
      expert.count = random.below(10) == 0 ? 0 : 1 + random.below(1000);
      expert.recent = static_cast<double>(expert.count);
    }
  }
  return std::make_shared<const profiler::ExpertProfile>(std::move(profile));
}

}  // namespace hearth::testing
