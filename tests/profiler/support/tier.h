// A memory tier to run traces on: experts, size classes and slots, and the loop a decoder runs.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "profiler/cache_policy.h"
#include "profiler/residency.h"

namespace hearth::profiler::testing {

// All experts exist and belong to size class (layer % number of classes).
inline Residency::Config make_config(ExpertSpace space, std::vector<std::uint32_t> slots_of_class) {
  Residency::Config config{space, {}, std::move(slots_of_class)};
  for (std::uint32_t expert = 0; expert < space.size(); ++expert)
    config.size_class_of.push_back(
        static_cast<std::uint8_t>(space.id(expert).layer % config.slots_of_class.size()));
  return config;
}

inline Residency make_residency(std::string_view policy, const Residency::Config& config) {
  auto made = make_policy(policy, {config.space, config.size_class_of, config.slots_of_class});
  CHECK(made != nullptr);
  return Residency(config, std::move(made));
}

// One row, no weights: policies do not look at them.
inline Routing one_row(LayerIndex layer, std::span<const std::uint16_t> experts) {
  return {layer, 1, static_cast<std::uint32_t>(experts.size()), experts, {}};
}

// Routes to `experts` and brings in what is missing, as a decoder without prefetch does.
inline void run_layer(Residency& tier, LayerIndex layer, std::span<const std::uint16_t> experts) {
  tier.observe(one_row(layer, experts));
  for (const std::uint16_t index : experts)
    if (tier.state({layer, index}) == ExpertState::kReady) tier.lease({layer, index});
  for (const std::uint16_t index : experts) {
    if (tier.state({layer, index}) != ExpertState::kAbsent) continue;
    CHECK(tier.begin_fill({layer, index}, FillReason::kDemand).has_value());
    tier.fill_done({layer, index});
    tier.lease({layer, index});
  }
  for (const std::uint16_t index : experts) tier.release({layer, index});
}

}  // namespace hearth::profiler::testing
