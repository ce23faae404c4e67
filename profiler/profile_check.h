// What a profile promises, and whether it keeps it: how uneven routing is, what a static set and
// the cache policies hit at given amounts of memory, and what follows from that.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"
#include "profiler/profile_skew.h"
#include "profiler/routing_trace.h"

namespace hearth::profiler {

enum class Recommendation {
  kStatic,   // a static set is as good as any cache
  kRecency,  // a cache that follows the text, lru, is as good as any
  kBoth,     // a policy that weighs more than recency beats either
};

// What holding `share` of all experts gives, as hit rates.
struct BudgetCheck {
  double share = 0;
  double promised = 0;    // of the profile's own uses, the part of its hottest experts
  double static_set = 0;  // those experts, never changed
  double lru = 0;         // recency
  double best = 0;        // of all cache policies
  std::string best_policy;
  double belady = 0;  // no policy can do better; a static set can, which loads nothing
  // The first kStartSteps steps alone, with recency: from an empty memory, and from one that holds
  // the profile's hottest experts. Zero without a held-out trace.
  double start_empty = 0;
  double start_seeded = 0;
  Recommendation recommendation = Recommendation::kRecency;
};
inline constexpr std::size_t kStartSteps = 64;

// Means over the first and the second half of the layers with experts.
struct DepthCheck {
  double entropy_early = 0, entropy_late = 0;
  double hits_early = 0, hits_late = 0;  // recency at the largest share; zero without a trace
};

struct ProfileCheck {
  bool held_out = false;       // measured on a trace the profile has not seen, else on its own
  std::uint64_t tokens = 0;    // of the profile
  double uses_per_expert = 0;  // likewise, in the mean
  std::uint64_t replayed_tokens = 0;
  std::vector<LayerSkew> layers;  // those with experts
  LayerSkew total;
  std::vector<BudgetCheck> budgets;  // empty where nothing was replayed
  DepthCheck depth;
};

// `held_out`: another recording of the same model, or nullptr for the curves within the profile.
// Policies begin with the profile's hottest experts; the first quarter of the trace warms up, the
// rest counts. `shares`: parts of all experts held, each in (0, 1), ascending. Throws
// Error(kBadInput) where the models differ or the trace has no tokens.
ProfileCheck check_profile(const ExpertProfile& profile, const RoutingTrace* held_out,
                           std::span<const double> shares);

// What follows, in plain words, a sentence or two per line: first what is right at which share.
std::vector<std::string> findings_of(const ProfileCheck& check);

}  // namespace hearth::profiler
