// Checks of profiles on traces whose kind of routing is known.
#include "profiler/profile_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "profiler/cache_policy.h"
#include "tests/profiler/support/traces.h"

namespace hearth::profiler {
namespace {

using testing::draw_trace;

RoutingTrace slice(const RoutingTrace& trace, std::size_t first, std::size_t last) {
  RoutingTrace part(trace.header());
  for (std::size_t step = first; step < last; ++step) {
    part.begin_step(trace.step(step));
    for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth)
      part.add(trace.decision(step, nth));
  }
  return part;
}

ExpertProfile recorded(const RoutingTrace& trace) {
  const ModelIdentity& model = trace.header().model;
  std::vector<std::uint32_t> experts(model.layers);
  for (const TraceLayer& layer : trace.header().layers) experts[layer.layer] = layer.experts;
  ProfileRecorder recorder(empty_profile(model, experts), "chat");
  for (std::size_t step = 0; step < trace.steps(); ++step)
    for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth)
      recorder.observe(trace.decision(step, nth));
  return recorder.profile();
}

struct Halves {
  ExpertProfile profile;  // of the first half
  RoutingTrace held_out;  // the second
};

Halves halves_of(const testing::DrawnTrace& wanted) {
  const RoutingTrace trace = draw_trace(wanted);
  const std::size_t middle = trace.steps() / 2;
  return {recorded(slice(trace, 0, middle)), slice(trace, middle, trace.steps())};
}

bool mentions(const ProfileCheck& check, std::string_view words) {
  const std::vector<std::string> lines = findings_of(check);
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
    return line.find(words) != std::string::npos;
  });
}

TEST(ProfileCheck, LastingHeatCallsForAStaticSet) {
  // What is chosen depends on lasting popularity and chance alone: there is nothing to follow.
  const Halves halves = halves_of({.tokens = 1000, .skew = 3, .persistence = 0});
  const ProfileCheck check =
      check_profile(halves.profile, &halves.held_out, std::vector{0.25, 0.5});
  EXPECT_TRUE(check.held_out);
  EXPECT_EQ(check.tokens, 500u);
  EXPECT_EQ(check.replayed_tokens, 500u);
  ASSERT_EQ(check.budgets.size(), 2u);
  for (const BudgetCheck& budget : check.budgets) {
    EXPECT_EQ(budget.recommendation, Recommendation::kStatic) << budget.share;
    EXPECT_GT(budget.static_set, budget.lru);
    EXPECT_GT(budget.start_seeded, budget.start_empty);
  }
  EXPECT_TRUE(mentions(check, "a static set is right"));
  EXPECT_TRUE(mentions(check, "carries over"));
  EXPECT_FALSE(mentions(check, "does not help"));
}

TEST(ProfileCheck, HeatThatMovesOnCallsForRecency) {
  const Halves halves =
      halves_of({.tokens = 1000, .skew = 0, .persistence = 4, .correlation = 0.98});
  const ProfileCheck check = check_profile(halves.profile, &halves.held_out, std::vector{0.3, 0.5});
  for (const BudgetCheck& budget : check.budgets) {
    EXPECT_NE(budget.recommendation, Recommendation::kStatic) << budget.share;
    EXPECT_GT(budget.lru, budget.static_set);
  }
  EXPECT_TRUE(mentions(check, "A static plan does not help: a set of 30 % hits "));
  EXPECT_GT(check.total.reused_soon, 0.5);
}

TEST(ProfileCheck, SaysThatTextsDiffer) {
  // The heat of the second half is that of another model: a text nothing like the first.
  const RoutingTrace first = draw_trace({.tokens = 500, .skew = 3, .seed = 1});
  const RoutingTrace second = draw_trace({.tokens = 500, .skew = 3, .seed = 2});
  const ProfileCheck check = check_profile(recorded(first), &second, std::vector{0.25});
  EXPECT_GT(check.budgets[0].promised, check.budgets[0].static_set + 0.05);
  EXPECT_TRUE(mentions(check, "the texts differ"));
}

TEST(ProfileCheck, NoPolicyBeatsBelady) {
  const Halves halves = halves_of({.tokens = 400});
  const std::vector<double> shares = {0.15, 0.3, 0.6};
  const ProfileCheck check = check_profile(halves.profile, &halves.held_out, shares);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const BudgetCheck& budget = check.budgets[i];
    EXPECT_EQ(budget.share, shares[i]);
    EXPECT_LE(budget.best, budget.belady);
    EXPECT_LE(budget.lru, budget.best);
    const auto names = policy_names();
    EXPECT_NE(std::find(names.begin(), names.end(), budget.best_policy), names.end());
    EXPECT_GE(budget.promised, check.budgets[i == 0 ? 0 : i - 1].promised);
  }
}

TEST(ProfileCheck, TakesItsOwnCurvesWithoutATrace) {
  ExpertProfile profile = recorded(draw_trace({.tokens = 200}));
  EXPECT_TRUE(check_profile(profile, nullptr, std::vector{0.5}).budgets.empty());
  EXPECT_TRUE(mentions(check_profile(profile, nullptr, std::vector{0.5}), "A trace would tell"));

  profile.curves = {{"lru", {{0.25, 0.5}, {0.75, 0.9}}},
                    {"pin+lru", {{0.25, 0.625}, {0.75, 0.9}}},
                    {"belady", {{0.25, 0.75}, {0.75, 1}}},
                    {"static", {{0.25, 0.5625}, {0.75, 0.8}}}};
  profile.replayed_tokens = 150;
  const ProfileCheck check = check_profile(profile, nullptr, std::vector{0.25, 0.75});
  EXPECT_FALSE(check.held_out);
  EXPECT_EQ(check.replayed_tokens, 150u);
  ASSERT_EQ(check.budgets.size(), 2u);
  EXPECT_EQ(check.budgets[0].best_policy, "pin+lru");
  EXPECT_EQ(check.budgets[0].best, 0.625);
  EXPECT_EQ(check.budgets[0].static_set, 0.5625);
  EXPECT_EQ(check.budgets[0].belady, 0.75);
  EXPECT_EQ(check.budgets[0].recommendation, Recommendation::kBoth);
  EXPECT_EQ(check.budgets[1].best_policy, "lru");  // the simpler of two that are as good
  EXPECT_EQ(check.budgets[1].recommendation, Recommendation::kRecency);
  EXPECT_FALSE(mentions(check, "first 64 steps"));
}

TEST(ProfileCheck, ComparesEarlyAndLateLayers) {
  ExpertProfile profile = recorded(draw_trace({.layers = 4, .tokens = 400, .skew = 3}));
  for (std::size_t nth : {0u, 1u})
    for (ExpertHistory& expert : profile.layers[nth].experts) expert.count = 50;  // all alike
  const ProfileCheck check = check_profile(profile, nullptr, {});
  EXPECT_NEAR(check.depth.entropy_early, 1, 1e-12);
  EXPECT_LT(check.depth.entropy_late, 0.9);
  EXPECT_TRUE(mentions(check, "the early ones spread more"));
}

TEST(ProfileCheck, WarnsOfFewTokens) {
  EXPECT_TRUE(
      mentions(check_profile(recorded(draw_trace({.tokens = 50})), nullptr, {}), "Few tokens"));
  EXPECT_FALSE(
      mentions(check_profile(recorded(draw_trace({.tokens = 300})), nullptr, {}), "Few tokens"));
  const ExpertProfile empty = recorded(draw_trace({.tokens = 0}));
  EXPECT_TRUE(mentions(check_profile(empty, nullptr, {}), "Nothing was recorded"));
}

TEST(ProfileCheck, RefusesATraceOfAnotherModel) {
  const RoutingTrace trace = draw_trace({.tokens = 50});
  const ExpertProfile profile = recorded(trace);
  const RoutingTrace other = draw_trace({.layers = 7, .tokens = 50});
  EXPECT_THROW(check_profile(profile, &other, std::vector{0.5}), Error);
  const RoutingTrace none = slice(trace, 0, 0);
  EXPECT_THROW(check_profile(profile, &none, std::vector{0.5}), Error);
}

}  // namespace
}  // namespace hearth::profiler
