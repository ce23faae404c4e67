#include "profiler/profile_check.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "profiler/cache_policy.h"
#include "profiler/policy_choice.h"
#include "profiler/replay.h"

namespace hearth::profiler {
namespace {

// One more miss in a hundred uses: what two recordings of one workload differ by, and little enough
// that the simpler way is the better one.
constexpr double kNoticeable = 0.01;

Recommendation recommend(const BudgetCheck& budget) {
  if (budget.static_set > budget.best - kNoticeable) return Recommendation::kStatic;
  if (budget.lru > budget.best - kNoticeable) return Recommendation::kRecency;
  return Recommendation::kBoth;
}

std::vector<ExpertId> hottest_first(const ExpertProfile& profile,
                                    std::span<const float> popularity) {
  const ExpertSpace space{profile.model.layers, profile.model.experts_per_layer};
  std::vector<ExpertId> experts;
  for (const LayerProfile& layer : profile.layers)
    for (std::size_t i = 0; i < layer.experts.size(); ++i)
      experts.push_back({layer.layer, static_cast<std::uint16_t>(i)});
  std::sort(experts.begin(), experts.end(), [&](ExpertId a, ExpertId b) {
    const float uses_a = popularity[space.flat(a)], uses_b = popularity[space.flat(b)];
    return uses_a != uses_b ? uses_a > uses_b : a < b;
  });
  return experts;
}

double uses_of(const ExpertProfile& profile) {
  double uses = 0;
  for (const LayerProfile& layer : profile.layers) uses += static_cast<double>(layer.uses());
  return uses;
}

// The part of the uses recorded that went to the experts which are the hottest now.
double promised_by(const ExpertProfile& profile, std::span<const ExpertId> hottest) {
  double held = 0;
  for (const ExpertId id : hottest)
    held += static_cast<double>(profile.layer(id.layer)->experts[id.index].count);
  const double all = uses_of(profile);
  return all == 0 ? 0 : held / all;
}

void take_better(BudgetCheck& budget, std::string_view policy, double hit_rate) {
  // The simpler policy, which comes first, wins a tie.
  if (!budget.best_policy.empty() && hit_rate <= budget.best) return;
  budget.best = hit_rate;
  budget.best_policy = policy;
}

// What the replay of one trace gives at one amount of memory.
class HeldOut {
 public:
  HeldOut(const ExpertProfile& profile, const RoutingTrace& trace)
      : trace_(trace),
        popularity_(profile.popularity()),
        hottest_(hottest_first(profile, popularity_)),
        warm_(trace.steps() / 4) {}

  BudgetCheck check(const ExpertProfile& profile, double share) const {
    const ReplayMemory memory = uniform_memory(trace_, share);
    const std::span<const ExpertId> seed = held_by(memory);
    BudgetCheck budget{.share = share, .promised = promised_by(profile, seed)};
    const ReplayOptions options{
        .policy = "lru", .popularity = popularity_, .seed = seed, .count_from = warm_};
    budget.static_set = replay_static(trace_, memory, options).hit_rate();
    budget.belady = replay_belady(trace_, memory, options).hit_rate();
    for (const std::string_view policy : policy_names()) {
      ReplayOptions with = options;
      with.policy = policy;
      const double hit_rate = replay(trace_, memory, with).hit_rate();
      if (policy == "lru") budget.lru = hit_rate;
      take_better(budget, policy, hit_rate);
    }
    budget.start_seeded = start(memory, seed);
    budget.start_empty = start(memory, {});
    budget.recommendation = recommend(budget);
    return budget;
  }

  ReplayResult recency(double share) const {
    const ReplayMemory memory = uniform_memory(trace_, share);
    return replay(trace_, memory, {.policy = "lru", .seed = held_by(memory), .count_from = warm_});
  }

 private:
  std::span<const ExpertId> held_by(const ReplayMemory& memory) const {
    return std::span(hottest_).first(
        std::min<std::size_t>(memory.slots_of_class[0], hottest_.size()));
  }

  double start(const ReplayMemory& memory, std::span<const ExpertId> seed) const {
    const std::size_t last = std::min(trace_.steps(), kStartSteps);
    return replay(trace_, memory, {.policy = "lru", .seed = seed, .last_step = last}).hit_rate();
  }

  const RoutingTrace& trace_;
  const std::vector<float> popularity_;
  const std::vector<ExpertId> hottest_;
  const std::size_t warm_;
};

// The same from the curves within a profile, where they have all that is needed.
std::optional<BudgetCheck> from_curves(const ExpertProfile& profile, double share) {
  BudgetCheck budget{.share = share};
  bool has_static = false, has_lru = false;
  for (const PolicyCurve& curve : profile.curves) {
    const double hit_rate = hit_rate_at(curve, share);
    if (curve.policy == "static") {
      budget.static_set = hit_rate;
      has_static = true;
    } else if (curve.policy == "belady") {
      budget.belady = hit_rate;
    } else {
      if (curve.policy == "lru") budget.lru = hit_rate, has_lru = true;
      take_better(budget, curve.policy, hit_rate);
    }
  }
  if (!has_static || !has_lru) return std::nullopt;
  const std::vector<float> popularity = profile.popularity();
  const std::vector<ExpertId> hottest = hottest_first(profile, popularity);
  const auto held =
      static_cast<std::size_t>(std::lround(share * static_cast<double>(hottest.size())));
  budget.promised = promised_by(profile, std::span(hottest).first(held));
  budget.recommendation = recommend(budget);
  return budget;
}

void check_trace(const ExpertProfile& profile, const RoutingTrace& trace) {
  const std::optional<std::string> different = difference(trace.header().model, profile.model);
  if (different)
    throw_error(ErrorCode::kBadInput,
                "compared with the profile, the trace {}; take a trace of the profile's model",
                *different);
  const auto same = [](const TraceLayer& a, const LayerProfile& b) {
    return a.layer == b.layer && a.experts == b.experts.size();
  };
  const std::vector<TraceLayer>& layers = trace.header().layers;
  if (!std::equal(layers.begin(), layers.end(), profile.layers.begin(), profile.layers.end(), same))
    throw_error(ErrorCode::kBadInput,
                "the trace has other layers or experts than the profile; record it again");
  if (trace.rows() == 0)
    throw_error(ErrorCode::kBadInput, "the trace has no tokens; record a longer one");
}

// Means of `value` over both halves of `count` layers; a layer in the middle counts as late.
std::pair<double, double> halves(std::size_t count,
                                 const std::function<double(std::size_t)>& value) {
  const std::size_t middle = count / 2;
  double early = 0, late = 0;
  for (std::size_t nth = 0; nth < count; ++nth) (nth < middle ? early : late) += value(nth);
  return {middle == 0 ? 0 : early / static_cast<double>(middle),
          count == 0 ? 0 : late / static_cast<double>(count - middle)};
}

}  // namespace

ProfileCheck check_profile(const ExpertProfile& profile, const RoutingTrace* held_out,
                           std::span<const double> shares) {
  for (const double share : shares) CHECK(share > 0 && share < 1);
  if (held_out != nullptr) check_trace(profile, *held_out);

  ProfileCheck check{.held_out = held_out != nullptr, .tokens = profile.tokens()};
  for (const LayerProfile& layer : profile.layers) check.layers.push_back(skew_of(layer));
  check.total = total_of(check.layers);
  if (check.total.experts > 0) check.uses_per_expert = uses_of(profile) / check.total.experts;
  std::tie(check.depth.entropy_early, check.depth.entropy_late) =
      halves(check.layers.size(), [&](std::size_t nth) { return check.layers[nth].entropy; });

  if (held_out == nullptr) {
    for (const double share : shares)
      if (const std::optional<BudgetCheck> budget = from_curves(profile, share))
        check.budgets.push_back(*budget);
    check.replayed_tokens = check.budgets.empty() ? 0 : profile.replayed_tokens;
    return check;
  }
  const HeldOut trace(profile, *held_out);
  for (const double share : shares) check.budgets.push_back(trace.check(profile, share));
  check.replayed_tokens = held_out->rows();
  if (shares.empty()) return check;
  const ReplayResult recency = trace.recency(shares.back());
  std::tie(check.depth.hits_early, check.depth.hits_late) =
      halves(check.layers.size(), [&](std::size_t nth) {
        const ResidencyCounters& layer = recency.layers[check.layers[nth].layer];
        return static_cast<double>(layer.hits) /
               static_cast<double>(std::max<std::uint64_t>(layer.hits + layer.misses, 1));
      });
  return check;
}

}  // namespace hearth::profiler
