#include "profiler/policy_study.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "profiler/synthetic_trace.h"

namespace hearth::profiler {
namespace {

RoutingTrace small_trace(std::uint32_t tokens) {
  return make_synthetic_trace({.name = "small",
                               .layers = 3,
                               .experts = 16,
                               .experts_per_row = 2,
                               .skew = 2,
                               .moods = {{1, 5}}},
                              tokens, "");
}

// A prompt of 30 tokens, then 10 decoded ones.
RoutingTrace trace_with_prompt() {
  const RoutingTrace rows = small_trace(40);
  RoutingTrace trace(rows.header());
  trace.begin_step({0, 30});
  for (std::size_t layer = 0; layer < 3; ++layer) {
    std::vector<std::uint16_t> experts;
    for (std::size_t row = 0; row < 30; ++row)
      experts.insert(experts.end(), rows.decision(row, layer).experts.begin(),
                     rows.decision(row, layer).experts.end());
    trace.add({static_cast<LayerIndex>(layer), 30, 2, experts, {}, 0});
  }
  for (std::size_t step = 30; step < 40; ++step) {
    trace.begin_step(rows.step(step));
    for (std::size_t layer = 0; layer < 3; ++layer) trace.add(rows.decision(step, layer));
  }
  return trace;
}

TEST(StudyParts, AreSharesOfTheTokens) {
  const RoutingTrace trace = small_trace(40);
  EXPECT_EQ(study_parts(trace, 0.5, 0).learned, 20u);
  EXPECT_EQ(study_parts(trace, 0.5, 0).last, 40u);
  EXPECT_EQ(study_parts(trace, 0.5, 7).last, 27u);
  EXPECT_EQ(study_parts(trace, 0.5, 700).last, 40u);
  EXPECT_EQ(study_parts(trace, 0, 0).learned, 0u);
  // Both parts have a step.
  EXPECT_EQ(study_parts(trace, 0.001, 0).learned, 1u);
  EXPECT_EQ(study_parts(trace, 1, 0).learned, 39u);
}

TEST(StudyParts, CountTokensAndNotSteps) {
  EXPECT_EQ(study_parts(trace_with_prompt(), 0.5, 0).learned, 1u);
  EXPECT_EQ(study_parts(trace_with_prompt(), 0.8, 0).learned, 3u);
}

TEST(StudyParts, NeedAStepEach) {
  EXPECT_THROW(study_parts(small_trace(1), 0.5, 0), Error);
  EXPECT_THROW(study_parts(RoutingTrace(small_trace(1).header()), 0, 0), Error);
  EXPECT_EQ(study_parts(small_trace(1), 0, 0).last, 1u);
}

TEST(PartOf, HoldsTheStepsAsTheyWere) {
  const RoutingTrace trace = trace_with_prompt();
  const RoutingTrace part = part_of(trace, 0, 4);
  ASSERT_EQ(part.steps(), 4u);
  EXPECT_EQ(part.rows(), 33u);
  for (std::size_t step = 0; step < 4; ++step)
    for (std::size_t layer = 0; layer < 3; ++layer) {
      EXPECT_TRUE(std::ranges::equal(part.decision(step, layer).experts,
                                     trace.decision(step, layer).experts));
      EXPECT_EQ(part.decision(step, layer).position, trace.decision(step, layer).position);
    }
}

TEST(PolicyStudy, JudgesByTheSameReplays) {
  const RoutingTrace trace = small_trace(100);
  const ReplayMemory memory = uniform_memory(trace, 0.4);
  const BudgetOutcome outcome = study_budget(
      trace, memory, {.parts = study_parts(trace, 0.5, 0), .policies = {"pin+lru", "lru"}});
  const ReplayResult lru = replay(trace, memory, {.policy = "lru", .count_from = 50});
  EXPECT_EQ(outcome.slots, 19u);
  EXPECT_EQ(outcome.experts, 48u);
  EXPECT_DOUBLE_EQ(outcome.policies[1].hit_rate, lru.hit_rate());
  EXPECT_DOUBLE_EQ(outcome.policies[1].misses, static_cast<double>(lru.total.misses) / 50);
  EXPECT_FALSE(outcome.fixed.has_value());  // nothing is known of popularity
  EXPECT_GE(outcome.best().hit_rate, outcome.policies[0].hit_rate);
  EXPECT_GE(outcome.below_belady(outcome.best()), 0);
}

TEST(PolicyStudy, ChoosesAmongThoseAskedForOnly) {
  const RoutingTrace trace = small_trace(100);
  // Of all policies the last one would be chosen, and without curves another one, too.
  const std::vector<PolicyCurve> curves = {{"lru", {{0.5, 0.3}}},
                                           {"pin+lru", {{0.5, 0.2}}},
                                           {std::string(policy_names().back()), {{0.5, 0.9}}}};
  for (const bool known : {true, false}) {
    const BudgetOutcome outcome = study_budget(
        trace, uniform_memory(trace, 0.5),
        {.parts = study_parts(trace, 0.5, 0),
         .policies = {"lru", "pin+lru"},
         .curves = known ? std::span<const PolicyCurve>(curves) : std::span<const PolicyCurve>()});
    EXPECT_EQ(outcome.choice.policy, "lru");
  }
}

}  // namespace
}  // namespace hearth::profiler
