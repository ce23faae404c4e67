// The policy that is chosen from the first half of a trace is nearly the best one on the second
// half, whatever kind of routing it is.
#include <gtest/gtest.h>

#include "profiler/policy_study.h"
#include "profiler/trace_file.h"

namespace hearth::profiler {
namespace {

constexpr double kShares[] = {0.10, 0.25, 0.50, 0.75};
constexpr double kMostBelowBest = 0.01;  // hit rate

class StoredTraces : public testing::TestWithParam<const char*> {};

TEST_P(StoredTraces, TheChosenPolicyIsNearlyTheBest) {
  const std::string path = std::string(HEARTH_SOURCE_DIR "/tests/traces/") + GetParam() + ".trace";
  const RoutingTrace trace = read_trace(path).trace;
  const StudyParts parts = study_parts(trace, 0.5, 0);
  const auto curves = measure_curves(part_of(trace, 0, parts.learned));
  const auto popularity = popularity_of(trace, 0, parts.learned);
  const std::vector<std::string> policies(policy_names().begin(), policy_names().end());
  for (const double share : kShares) {
    const BudgetOutcome outcome = study_budget(
        trace, uniform_memory(trace, share),
        {.parts = parts, .policies = policies, .curves = curves, .popularity = popularity});
    EXPECT_LE(outcome.below_best(), kMostBelowBest)
        << "chosen: " << outcome.choice.policy << ", best: " << outcome.best().policy << " at "
        << share;
    EXPECT_GE(outcome.below_belady(outcome.chosen()), 0) << share;
    std::printf("%-14s %3.0f %%  chosen %-11s %5.1f %%  best %-11s %5.1f %%  belady %5.1f %%\n",
                GetParam(), 100 * share, outcome.choice.policy.c_str(),
                100 * outcome.chosen().hit_rate, outcome.best().policy.c_str(),
                100 * outcome.best().hit_rate, 100 * outcome.belady.hit_rate);
  }
}

INSTANTIATE_TEST_SUITE_P(Recorded, StoredTraces,
                         testing::Values("prose", "code", "records", "mixed", "chat", "story"));
INSTANTIATE_TEST_SUITE_P(MadeUp, StoredTraces,
                         testing::Values("qwen3.6", "qwen3-topics", "gpt-oss", "flat", "mixtral",
                                         "skewed"));

}  // namespace
}  // namespace hearth::profiler
