#include "profiler/policy_study.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace hearth::profiler {
namespace {

PolicyOutcome outcome(std::string policy, const ReplayResult& result) {
  const auto per_token = [&result](std::uint64_t count) {
    return result.rows == 0 ? 0 : static_cast<double>(count) / static_cast<double>(result.rows);
  };
  return {.policy = std::move(policy),
          .hit_rate = result.hit_rate(),
          .misses = per_token(result.total.misses),
          .evictions = per_token(result.total.evictions),
          .bytes = per_token(result.missed.count)};
}

// Of the policies that are compared.
std::vector<PolicyCurve> curves_of(const StudyOptions& options) {
  std::vector<PolicyCurve> curves;
  for (const PolicyCurve& curve : options.curves)
    if (std::ranges::find(options.policies, curve.policy) != options.policies.end())
      curves.push_back(curve);
  return curves;
}

}  // namespace

StudyParts study_parts(const RoutingTrace& trace, double share, std::uint64_t tokens) {
  const std::size_t least = share > 0 ? 2 : 1;
  if (trace.steps() < least)
    throw_error(ErrorCode::kBadInput,
                "holds {} step{}, too few to learn from a part and to judge by the rest",
                trace.steps(), trace.steps() == 1 ? "" : "s");
  const double wanted = share * static_cast<double>(trace.rows());
  StudyParts parts;
  std::uint64_t rows = 0;
  while (parts.learned + 1 < trace.steps() && static_cast<double>(rows) < wanted)
    rows += trace.step(parts.learned++).rows;
  parts.last = parts.learned;
  for (std::uint64_t counted = 0; parts.last < trace.steps() && (tokens == 0 || counted < tokens);
       ++parts.last)
    counted += trace.step(parts.last).rows;
  return parts;
}

RoutingTrace part_of(const RoutingTrace& trace, std::size_t first, std::size_t last) {
  CHECK_LE(first, last);
  CHECK_LE(last, trace.steps());
  RoutingTrace part(trace.header());
  for (std::size_t step = first; step < last; ++step) {
    part.begin_step(trace.step(step));
    for (std::size_t layer = 0; layer < trace.header().layers.size(); ++layer)
      part.add(trace.decision(step, layer));
  }
  return part;
}

const PolicyOutcome& BudgetOutcome::chosen() const {
  const auto found = std::ranges::find(policies, choice.policy, &PolicyOutcome::policy);
  CHECK(found != policies.end());
  return *found;
}

const PolicyOutcome& BudgetOutcome::best() const {
  return *std::ranges::max_element(policies, {}, &PolicyOutcome::hit_rate);
}

BudgetOutcome study_budget(const RoutingTrace& trace, const ReplayMemory& memory,
                           const StudyOptions& options) {
  CHECK(!options.policies.empty());
  ReplayOptions replayed{.popularity = options.popularity,
                         .seed = options.seed,
                         .first_step = options.warm ? 0 : options.parts.learned,
                         .last_step = options.parts.last,
                         .count_from = options.parts.learned};
  BudgetOutcome result;
  for (const std::uint32_t slots : memory.slots_of_class) result.slots += slots;
  for (const TraceLayer& layer : trace.header().layers) result.experts += layer.experts;
  for (const std::string& policy : options.policies) {
    replayed.policy = policy;
    result.policies.push_back(outcome(policy, replay(trace, memory, replayed)));
  }
  result.belady = outcome("belady", replay_belady(trace, memory, replayed));
  if (!options.popularity.empty())
    result.fixed = outcome("static", replay_static(trace, memory, replayed));
  const std::uint64_t cycle = trace.header().layers.size() * trace.header().experts_per_row;
  result.choice = choose_policy(curves_of(options), result.slots, result.experts, cycle);
  // Without curves the choice is among all policies.
  if (std::ranges::find(options.policies, result.choice.policy) == options.policies.end())
    result.choice = {.policy = options.policies.front(),
                     .reason = "the first that was asked for, as nothing was measured"};
  return result;
}

}  // namespace hearth::profiler
