// What a profile promises, and whether it keeps it: how uneven routing is, what a static set and
// the cache policies hit at given amounts of memory, and what follows from that.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"
#include "profiler/routing_trace.h"

namespace hearth::profiler {

// How unevenly the tokens of one layer choose its experts.
struct LayerSkew {
  LayerIndex layer = 0;
  std::uint32_t experts = 0;
  std::uint32_t used = 0;             // chosen at least once
  std::uint32_t for_half = 0;         // fewest experts that get 50 % of the uses
  std::uint32_t for_nine_tenths = 0;  // 90 %
  double entropy = 0;                 // of the choices, 1: all alike, 0: always the same expert
  double gini = 0;                    // 0: all alike, near 1: a few experts get everything
  double reuse_within_8 = 0;  // part of the repeated uses at most 8 tokens after the last one
};
LayerSkew skew_of(const LayerProfile& layer);

// What holding `share` of all experts gives, as hit rates.
struct BudgetCheck {
  double share = 0;
  double static_set = 0;  // the profile's hottest experts, never changed
  double lru = 0;         // recency
  double best = 0;        // of all cache policies
  std::string best_policy;
  double belady = 0;  // no policy can do better
};

// The first and the second half of the layers with experts.
struct DepthCheck {
  double entropy_early = 0, entropy_late = 0;  // means
  double hit_early = 0, hit_late = 0;          // of the best policy at the last budget; 0: no trace
};

enum class Recommendation {
  kUnknown,  // nothing was recorded, or nothing replayed
  kStatic,   // a static set is as good as any cache
  kRecency,  // a cache that follows the text, begun with the hot experts
  kBoth,     // a pinned part and a cache
};

struct ProfileCheck {
  bool held_out = false;     // measured on a trace the profile has not seen, else on its own
  std::uint64_t tokens = 0;  // replayed; 0: budgets is empty
  std::vector<LayerSkew> layers;
  LayerSkew total;  // of all layers: counts are sums, rates are means
  std::vector<BudgetCheck> budgets;
  DepthCheck depth;
  Recommendation recommendation = Recommendation::kUnknown;
  std::vector<std::string> findings;  // in plain words, a line each, the recommendation first
};

// `held_out`: another recording of the same model, or nullptr for the curves within the profile.
// `shares`: parts of all experts held, each in (0, 1), ascending. Throws Error(kBadInput) where the
// models differ.
ProfileCheck check_profile(const ExpertProfile& profile, const RoutingTrace* held_out,
                           std::span<const double> shares);

}  // namespace hearth::profiler
