#include "profiler/policy_choice.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "profiler/cache_policy.h"

namespace hearth::profiler {
namespace {

// Closer where curves are steeper.
constexpr std::array kShares = {0.02, 0.04, 0.06, 0.09, 0.13, 0.18,
                                0.25, 0.35, 0.45, 0.6,  0.75, 0.9};

// Differences in hit rate. Among policies a tenth of a percentage point is nothing; and a recording
// of some hundred tokens cannot tell half a point from chance.
constexpr double kAsGood = 0.001;
constexpr double kChance = 0.005;

const PolicyCurve* find(std::span<const PolicyCurve> curves, std::string_view policy) {
  const auto found = std::ranges::find(curves, policy, &PolicyCurve::policy);
  return found == curves.end() ? nullptr : &*found;
}

// One curve for each way to replay: what `replay_with` gives at every share.
template <typename ReplayWith>
PolicyCurve measure(std::string_view name, const RoutingTrace& trace, ReplayWith replay_with) {
  PolicyCurve curve{std::string(name), {}};
  for (const double share : kShares) {
    const ReplayResult result = replay_with(uniform_memory(trace, share));
    curve.points.push_back({.share = share, .hit_rate = result.hit_rate()});
  }
  return curve;
}

}  // namespace

std::span<const double> curve_shares() { return kShares; }

std::vector<PolicyCurve> measure_curves(const RoutingTrace& recorded) {
  const RoutingTrace trace = token_by_token(recorded);
  // What a popularity was counted on it also predicts too well, so that is not replayed.
  const std::size_t learned = trace.steps() / 8, warm = trace.steps() / 4;
  const std::vector<float> popularity = popularity_of(trace, 0, learned);
  const std::vector<float> popularity_of_all = popularity_of(trace, 0, warm);
  ReplayOptions options{.popularity = popularity, .first_step = learned, .count_from = warm};
  std::vector<PolicyCurve> curves;
  for (const std::string_view policy : policy_names()) {
    options.policy = policy;
    curves.push_back(measure(
        policy, trace, [&](const ReplayMemory& memory) { return replay(trace, memory, options); }));
  }
  curves.push_back(measure("belady", trace, [&](const ReplayMemory& memory) {
    return replay_belady(trace, memory, options);
  }));
  options.popularity = popularity_of_all;
  curves.push_back(measure("static", trace, [&](const ReplayMemory& memory) {
    return replay_static(trace, memory, options);
  }));
  return curves;
}

double hit_rate_at(const PolicyCurve& curve, double share) {
  HitPoint below{.share = 0, .hit_rate = 0};
  HitPoint above{.share = 1, .hit_rate = 1};
  for (const HitPoint& point : curve.points) {
    (point.share <= share ? below : above) = point;
    if (point.share > share) break;
  }
  if (share <= below.share) return below.hit_rate;
  if (share >= above.share) return above.hit_rate;
  const double part = (share - below.share) / (above.share - below.share);
  return below.hit_rate + part * (above.hit_rate - below.hit_rate);
}

namespace {

struct Candidate {
  std::string_view policy;
  double hit_rate = 0;
};

// Those with a curve, simple ones first.
std::vector<Candidate> candidates_at(std::span<const PolicyCurve> curves, double share) {
  std::vector<Candidate> candidates;
  for (const std::string_view policy : policy_names())
    if (const PolicyCurve* curve = find(curves, policy))
      candidates.push_back({policy, hit_rate_at(*curve, share)});
  return candidates;
}

// The one that did best on all other recordings, unless this one contradicts; then the simplest of
// the best.
const Candidate& best_of(std::span<const Candidate> candidates) {
  const double best = std::ranges::max_element(candidates, {}, &Candidate::hit_rate)->hit_rate;
  const auto usual = std::ranges::find(candidates, recommend_policy(), &Candidate::policy);
  if (usual != candidates.end() && best - usual->hit_rate <= kChance) return *usual;
  return *std::ranges::find_if(
      candidates, [&](const Candidate& candidate) { return best - candidate.hit_rate <= kAsGood; });
}

std::string reason_of(const Candidate& chosen, std::span<const Candidate> candidates,
                      double share) {
  std::string reason = fmt::format(
      "in replays of the recorded routing, with {:.0f} % of the experts "
      "in memory, it hits {:.1f} %",
      100 * share, 100 * chosen.hit_rate);
  const auto& simplest = candidates.front();
  if (simplest.policy != chosen.policy)
    reason += fmt::format(", {} {:.1f} %", simplest.policy, 100 * simplest.hit_rate);
  return reason;
}

PolicyChoice unmeasured(std::uint64_t slots, std::uint64_t cycle) {
  std::string reason = "no routing of this model was recorded; it did best on that of others";
  if (slots < cycle)
    reason += fmt::format(
        "; {} slots are fewer than the {} experts that a token uses, where "
        "recency alone hits nothing",
        slots, cycle);
  return {.policy = std::string(recommend_policy()), .reason = std::move(reason)};
}

}  // namespace

PolicyChoice choose_policy(std::span<const PolicyCurve> curves, std::uint64_t slots,
                           std::uint64_t experts, std::uint64_t cycle) {
  if (slots >= experts)
    return {.policy = std::string(policy_names().front()),
            .hit_rate = 1,
            .reason = "all experts fit, so none is given up"};
  const double share = static_cast<double>(slots) / static_cast<double>(experts);
  const std::vector<Candidate> candidates = candidates_at(curves, share);
  if (candidates.empty()) return unmeasured(slots, cycle);
  const Candidate& chosen = best_of(candidates);
  return {.policy = std::string(chosen.policy),
          .hit_rate = chosen.hit_rate,
          .reason = reason_of(chosen, candidates, share)};
}

}  // namespace hearth::profiler
