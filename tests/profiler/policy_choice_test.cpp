#include "profiler/policy_choice.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "profiler/cache_policy.h"
#include "tests/profiler/support/traces.h"

namespace hearth::profiler {
namespace {

using testing::draw_trace;
using testing::DrawnTrace;

TEST(HitRateAt, IsLinearBetweenPointsAndKnowsTheEnds) {
  const PolicyCurve curve{"lru", {{0.2, 0.5}, {0.4, 0.6}}};
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 0), 0);
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 0.1), 0.25);
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 0.2), 0.5);
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 0.3), 0.55);
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 0.7), 0.8);
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 1), 1);
  EXPECT_DOUBLE_EQ(hit_rate_at(curve, 1.5), 1);
  EXPECT_DOUBLE_EQ(hit_rate_at({"lru", {}}, 0.25), 0.25);
}

PolicyCurve flat_curve(std::string policy, double hit_rate) {
  return {std::move(policy), {{0.1, hit_rate}, {0.9, hit_rate}}};
}

TEST(ChoosePolicy, TakesTheBestCurveButASimplerOneThatIsAsGood) {
  const std::vector<PolicyCurve> clear = {flat_curve("belady", 0.99), flat_curve("static", 0.98),
                                          flat_curve("slru", 0.602), flat_curve("lru", 0.6)};
  EXPECT_EQ(choose_policy(clear, 50, 100, 30).policy, "slru");
  EXPECT_DOUBLE_EQ(choose_policy(clear, 50, 100, 30).hit_rate, 0.602);
  const std::vector<PolicyCurve> close = {flat_curve("slru", 0.6008), flat_curve("lru", 0.6)};
  EXPECT_EQ(choose_policy(close, 50, 100, 30).policy, "lru");
}

TEST(ChoosePolicy, StaysWithTheRecommendedWhereTheDifferenceMayBeChance) {
  const std::string usual(recommend_policy());
  const std::vector<PolicyCurve> uncertain = {flat_curve(usual, 0.6), flat_curve("slru", 0.6045)};
  EXPECT_EQ(choose_policy(uncertain, 50, 100, 30).policy, usual);
  const std::vector<PolicyCurve> certain = {flat_curve(usual, 0.6), flat_curve("slru", 0.6055),
                                            flat_curve("lru", 0.605)};
  EXPECT_EQ(choose_policy(certain, 50, 100, 30).policy, "lru");
}

TEST(ChoosePolicy, SaysWhyInOneLine) {
  const std::vector<PolicyCurve> curves = {flat_curve("forecast", 0.75), flat_curve("lru", 0.6)};
  EXPECT_EQ(choose_policy(curves, 50, 100, 30).reason,
            "in replays of the recorded routing, with 50 % of the experts in memory, it hits "
            "75.0 %, lru 60.0 %");
  EXPECT_EQ(choose_policy(curves, 100, 100, 30).policy, "lru");
  EXPECT_EQ(choose_policy(curves, 100, 100, 30).reason, "all experts fit, so none is given up");
}

TEST(ChoosePolicy, WithoutCurvesFollowsTheRecommendation) {
  const std::vector<PolicyCurve> bounds = {flat_curve("belady", 0.9)};
  for (const std::span<const PolicyCurve> curves : {std::span<const PolicyCurve>(), {bounds}}) {
    const PolicyChoice choice = choose_policy(curves, 20, 100, 30);
    EXPECT_EQ(choice.policy, recommend_policy());
    EXPECT_EQ(choice.hit_rate, 0);
    EXPECT_NE(choice.reason.find("20 slots are fewer than the 30 experts"), std::string::npos);
  }
}

TEST(MeasureCurves, HasEveryPolicyAndBothBoundsAtEveryShare) {
  const auto curves = measure_curves(draw_trace({.tokens = 120}));
  ASSERT_EQ(curves.size(), policy_names().size() + 2);
  const PolicyCurve& belady = curves[policy_names().size()];
  EXPECT_EQ(belady.policy, "belady");
  EXPECT_EQ(curves.back().policy, "static");
  for (const PolicyCurve& curve : curves) {
    ASSERT_EQ(curve.points.size(), curve_shares().size());
    for (std::size_t i = 0; i < curve.points.size(); ++i) {
      EXPECT_EQ(curve.points[i].share, curve_shares()[i]);
      if (curve.policy == "static") continue;  // it need not load what it misses
      EXPECT_LE(curve.points[i].hit_rate, belady.points[i].hit_rate) << curve.policy;
    }
  }
}

TEST(MeasureCurves, DecodesWhatWasRecordedAsAPrompt) {
  const DrawnTrace wanted{.tokens = 64, .prompt_rows = 64};
  const RoutingTrace chunk = draw_trace(wanted);
  ASSERT_EQ(chunk.steps(), 65u);
  const RoutingTrace tokens = token_by_token(chunk);
  ASSERT_EQ(tokens.steps(), 128u);
  EXPECT_EQ(tokens.step(100).position, 100u);
  const auto of_chunk = measure_curves(chunk), of_tokens = measure_curves(tokens);
  for (std::size_t i = 0; i < of_chunk.size(); ++i)
    for (std::size_t point = 0; point < of_chunk[i].points.size(); ++point)
      EXPECT_EQ(of_chunk[i].points[point].hit_rate, of_tokens[i].points[point].hit_rate);
}

// What the choice is for: it holds for what comes after the part that it was made from.
TEST(ChoosePolicy, IsWithinAPercentagePointOfTheBestOnTheRestOfATrace) {
  for (const DrawnTrace& wanted :
       {DrawnTrace{.tokens = 600, .skew = 2, .persistence = 0.5, .seed = 2},
        DrawnTrace{.tokens = 600, .skew = 0.5, .persistence = 2, .correlation = 0.7, .seed = 3},
        DrawnTrace{.tokens = 600, .persistence = 1.5, .subject_tokens = 120, .seed = 4}}) {
    const RoutingTrace trace = draw_trace(wanted);
    const std::size_t learned = trace.steps() / 2;
    const auto curves = measure_curves(draw_trace([&] {
      DrawnTrace first = wanted;
      first.tokens = static_cast<std::uint32_t>(learned);
      return first;
    }()));
    for (const double share : {0.06, 0.1, 0.2, 0.4, 0.7}) {
      const ReplayMemory memory = uniform_memory(trace, share);
      const PolicyChoice choice = choose_policy(curves, memory.slots_of_class[0], 8 * 32, 8 * 4);
      double best = 0, chosen = 0;
      for (const std::string_view policy : policy_names()) {
        const double hit_rate =
            replay(trace, memory, {.policy = policy, .count_from = learned}).hit_rate();
        best = std::max(best, hit_rate);
        if (policy == choice.policy) chosen = hit_rate;
      }
      EXPECT_GE(chosen, best - 0.01) << choice.policy << " at " << share;
    }
  }
}

}  // namespace
}  // namespace hearth::profiler
