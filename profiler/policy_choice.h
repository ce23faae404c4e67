// Which cache policy to take: by replaying what was recorded.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"
#include "profiler/replay.h"

namespace hearth::profiler {

// The shares of all experts at which curves are measured.
std::span<const double> curve_shares();

// Hit rates of every policy, of Belady's bound and of a static set at curve_shares(), with all
// experts in one size class, decoding token by token whatever the steps of the trace. The first
// eighth of the tokens gives policies their popularity and the second warms up; the static set is
// that of the first quarter; the rest counts. Takes about 9 us for each routed expert:
// 14 s for 4096 tokens of 48 layers and top-8.
std::vector<PolicyCurve> measure_curves(const RoutingTrace& trace);

// Interpolated between the points of a curve; 0 at share 0, 1 at share 1.
double hit_rate_at(const PolicyCurve& curve, double share);

struct PolicyChoice {
  std::string policy;
  double hit_rate = 0;  // expected; 0 without curves
  std::string reason;   // one line in plain words
};

// The policy with the best curve at this share, and a simpler one (earlier in policy_names()) where
// it is as good within a tenth of a percentage point. But recommend_policy() unless another is
// better by more than half a point, since a recording of some hundred tokens cannot tell less from
// chance: on the second halves of twelve stored traces, at ten budgets, what is chosen from the
// first halves is then at most 0.7 points below the best, and 1.3 without that. Without curves of
// policies: recommend_policy(). `cycle`: experts that a token uses, for the reason.
PolicyChoice choose_policy(std::span<const PolicyCurve> curves, std::uint64_t slots,
                           std::uint64_t experts, std::uint64_t cycle);

}  // namespace hearth::profiler
