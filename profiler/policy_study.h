// How cache policies compare on a part of a trace that the choice among them has not seen.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "profiler/policy_choice.h"
#include "profiler/replay.h"

namespace hearth::profiler {

// A trace in two parts: [0, learned) is known when the policy is chosen, [learned, last) counts.
struct StudyParts {
  std::size_t learned = 0;  // steps
  std::size_t last = 0;
};
// The first `share` of the tokens is learned from, of at least a step where it is more than 0; at
// most `tokens` of the rest count, 0: all. Throws Error(kBadInput) where no step would be left.
StudyParts study_parts(const RoutingTrace& trace, double share, std::uint64_t tokens);

// The steps [first, last) as a trace of their own.
RoutingTrace part_of(const RoutingTrace& trace, std::size_t first, std::size_t last);

struct StudyOptions {
  StudyParts parts;
  std::vector<std::string> policies;    // those to compare, of policy_names()
  std::span<const PolicyCurve> curves;  // that the choice is made from
  std::span<const float> popularity;    // that is known at the start; may be empty
  std::span<const ExpertId> seed = {};  // of memory that does not go through the learned part
  bool warm = true;                     // memory goes through it first, without counting
};

struct PolicyOutcome {
  std::string policy;
  double hit_rate = 0;
  double misses = 0;  // per token, like all that follows
  double evictions = 0;
  double bytes = 0;  // of what was missed; 0 where the bytes of experts are not known
};

struct BudgetOutcome {
  std::uint32_t slots = 0;
  std::uint32_t experts = 0;
  std::vector<PolicyOutcome> policies;  // as in StudyOptions
  PolicyOutcome belady;
  std::optional<PolicyOutcome> fixed;  // the most popular experts, never changed
  PolicyChoice choice;

  double share() const { return static_cast<double>(slots) / experts; }
  const PolicyOutcome& chosen() const;
  const PolicyOutcome& best() const;  // of the policies; the first of equals
  double below_best() const { return best().hit_rate - chosen().hit_rate; }
  double below_belady(const PolicyOutcome& outcome) const {
    return belady.hit_rate - outcome.hit_rate;
  }
};

BudgetOutcome study_budget(const RoutingTrace& trace, const ReplayMemory& memory,
                           const StudyOptions& options);

}  // namespace hearth::profiler
