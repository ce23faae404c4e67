// How many of the routed experts a memory of so many slots will hold: from the recorded routing of
// a profile, else from what was published of other models.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "profiler/expert_profile.h"
#include "profiler/model_needs.h"

namespace hearth::profiler {

// Shares of the expert bytes of a token.
struct HitEstimate {
  double expected = 1;
  double low = 1;
  double high = 1;
  std::string source;  // "the profile's replay of 12,000 tokens", "assumed: no profile"
};

// For `slots_of_class` slots of each class under `policy`. `profile` may be null.
HitEstimate estimate_hits(const ModelNeeds& needs, std::span<const std::uint32_t> slots_of_class,
                          const std::string& policy, const ExpertProfile* profile);

}  // namespace hearth::profiler
