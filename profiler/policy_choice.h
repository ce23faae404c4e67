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
// experts in one size class. The first quarter of the trace warms up (and gives the static set its
// counts and the policies their popularity), the rest counts.
std::vector<PolicyCurve> measure_curves(const RoutingTrace& trace);

// Interpolated between the points of a curve; 0 at share 0, 1 at share 1.
double hit_rate_at(const PolicyCurve& curve, double share);

struct PolicyChoice {
  std::string policy;
  double hit_rate = 0;  // expected
  std::string reason;   // one line in plain words
};

// The policy with the best curve at this share. A simpler one (earlier in policy_names()) is
// preferred where it is as good within a tenth of a percentage point. Without curves: the rule of
// recommend_policy().
PolicyChoice choose_policy(std::span<const PolicyCurve> curves, std::uint64_t slots,
                           std::uint64_t experts, std::uint64_t cycle);

}  // namespace hearth::profiler
