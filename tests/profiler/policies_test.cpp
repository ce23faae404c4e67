// What each policy is there for.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "profiler/cache_policy.h"
#include "profiler/replay.h"
#include "tests/profiler/support/tier.h"
#include "tests/profiler/support/traces.h"

namespace hearth::profiler {
namespace {

using testing::add_step;
using testing::draw_trace;
using testing::DrawnTrace;
using testing::empty_trace;
using testing::make_config;
using testing::one_row;

constexpr auto kAny = [](ExpertId) { return true; };

class PolicyUnderTest {
 public:
  PolicyUnderTest(std::string_view name, ExpertSpace space, std::uint32_t slots,
                  std::span<const float> popularity = {})
      : config_(make_config(space, {slots})),
        policy_(make_policy(
            name, {config_.space, config_.size_class_of, config_.slots_of_class, popularity})) {}

  CachePolicy& operator*() { return *policy_; }
  CachePolicy* operator->() { return policy_.get(); }

  // Routes one token of one layer.
  void route(LayerIndex layer, std::initializer_list<std::uint16_t> experts) {
    policy_->on_routed(one_row(layer, experts));
  }
  void insert(LayerIndex layer, std::initializer_list<std::uint16_t> experts) {
    for (const std::uint16_t expert : experts) policy_->on_insert({layer, expert});
  }
  // Victims until nothing is left.
  std::vector<ExpertId> order_of_leaving() {
    std::vector<ExpertId> leaving;
    while (const auto victim = policy_->choose_victim(0, kAny)) {
      leaving.push_back(*victim);
      policy_->on_evict(*victim);
    }
    return leaving;
  }

 private:
  Residency::Config config_;
  std::unique_ptr<CachePolicy> policy_;
};

using Ids = std::vector<ExpertId>;

TEST(Slru, WhatWasHitStaysBeforeWhatWasNot) {
  PolicyUnderTest policy("slru", {1, 16}, 8);
  policy.insert(0, {0, 1, 2, 3, 4});
  policy->on_hit({0, 1});
  policy->on_hit({0, 3});
  EXPECT_EQ(policy.order_of_leaving(), (Ids{{0, 0}, {0, 2}, {0, 4}, {0, 1}, {0, 3}}));
}

TEST(Slru, TheOldestOfTooManyProtectedIsOnTrialAgain) {
  PolicyUnderTest policy("slru", {1, 16}, 4);  // 3 of them protected
  policy.insert(0, {0, 1, 2, 3});
  for (const std::uint16_t expert : {0, 1, 2, 3}) policy->on_hit({0, expert});
  EXPECT_EQ(policy.order_of_leaving(), (Ids{{0, 0}, {0, 1}, {0, 2}, {0, 3}}));
  policy.insert(0, {5});
  EXPECT_EQ(policy.order_of_leaving(), (Ids{{0, 5}}));
}

TEST(LayerLru, CountsTurnsOfTheLayerNotExperts) {
  PolicyUnderTest policy("layer-lru", {3, 4}, 12);
  policy.insert(0, {0});
  policy.insert(1, {0, 1});
  policy.insert(2, {0});
  for (const LayerIndex layer : {0, 1, 2, 0, 1}) {
    policy.route(layer, {0});
    policy->on_hit({layer, 0});
  }
  // Expert 1 of layer 1 missed two turns. The others were all used in their last turn: layer 1 has
  // just run and is farthest from the next one, then come 0 and 2, although that was used earliest.
  EXPECT_EQ(policy.order_of_leaving(), (Ids{{1, 1}, {1, 0}, {0, 0}, {2, 0}}));
}

TEST(LeastStale, WhatThisPassHasGoneByLeavesFirst) {
  PolicyUnderTest policy("least-stale", {3, 4}, 12);
  policy.insert(0, {0, 1});
  policy.insert(1, {0});
  policy.insert(2, {0, 1});
  for (const LayerIndex layer : {0, 1, 2, 0, 1}) {
    policy.route(layer, {0});
    policy->on_hit({layer, 0});
  }
  // Layer 2 comes next, so that even what it did not use in its last turn stays longest.
  EXPECT_EQ(policy.order_of_leaving(), (Ids{{0, 1}, {1, 0}, {0, 0}, {2, 1}, {2, 0}}));
}

TEST(LfuDecay, PrefersTheFrequentToTheRecentUntilItIsForgotten) {
  for (const int silence : {4, 200}) {
    PolicyUnderTest policy("lfu-decay", {1, 8}, 8);
    policy.insert(0, {0, 1});
    for (int token = 0; token < 30; ++token) policy.route(0, {0});
    for (int token = 0; token < silence; ++token) policy.route(0, {7});
    policy.route(0, {1});
    const std::uint16_t first = silence < 100 ? 1 : 0;
    EXPECT_EQ(policy->choose_victim(0, kAny), (ExpertId{0, first})) << silence;
  }
}

TEST(LfuDecay, OfEquallyFrequentExpertsTheLayerThatRunsLastLeavesFirst) {
  PolicyUnderTest policy("lfu-decay", {3, 4}, 12);
  for (const LayerIndex layer : {0, 1, 2}) policy.insert(layer, {0});
  for (int token = 0; token < 9; ++token)
    for (const LayerIndex layer : {0, 1, 2}) policy.route(layer, {0});
  policy.route(0, {0});
  EXPECT_EQ(policy.order_of_leaving(), (Ids{{0, 0}, {2, 0}, {1, 0}}));
}

TEST(ProfiledPolicies, BeginWithThePopularityOfTheProfile) {
  const std::vector<float> popularity = {0.1f, 0.9f, 0.2f, 0.05f};
  for (const std::string_view name : {"pin+lru", "lfu-decay", "forecast"}) {
    PolicyUnderTest policy(name, {1, 4}, 3, popularity);
    policy.insert(0, {1, 2, 3});
    EXPECT_EQ(policy->choose_victim(0, kAny), (ExpertId{0, 3})) << name;
  }
}

// 12 experts that are used all the time, and 40 that come once; 20 slots.
double hit_rate_after_a_scan(std::string_view policy) {
  RoutingTrace trace = empty_trace({1, 128}, 2);
  for (std::uint16_t token = 0; token < 120; ++token)
    add_step(trace, {{static_cast<std::uint16_t>(token % 12),
                      static_cast<std::uint16_t>((token + 6) % 12)}});
  for (std::uint16_t token = 0; token < 20; ++token)
    add_step(trace, {{static_cast<std::uint16_t>(20 + 2 * token),
                      static_cast<std::uint16_t>(21 + 2 * token)}});
  const std::size_t after = trace.steps();
  for (std::uint16_t token = 0; token < 6; ++token)
    add_step(trace, {{token, static_cast<std::uint16_t>(token + 6)}});
  return replay(trace, uniform_memory(trace, 20.0 / 128), {.policy = policy, .count_from = after})
      .hit_rate();
}

TEST(ScanResistance, WhatIsUsedAllTheTimeOutlastsWhatIsUsedOnce) {
  EXPECT_EQ(hit_rate_after_a_scan("lru"), 0);
  for (const std::string_view policy : {"slru", "pin+lru", "lfu-decay", "forecast"})
    EXPECT_EQ(hit_rate_after_a_scan(policy), 1) << policy;
}

// Every token takes the same experts, of 8 layers x 4.
RoutingTrace cycle(std::uint32_t tokens) {
  RoutingTrace trace = empty_trace({8, 16}, 4);
  constexpr std::uint16_t row[] = {3, 1, 7, 5};
  for (std::uint32_t token = 0; token < tokens; ++token) {
    trace.begin_step({token, 1});
    for (LayerIndex layer = 0; layer < 8; ++layer) trace.add(one_row(layer, row));
  }
  return trace;
}

TEST(CyclicTrace, PoliciesThatKnowTheLayersReachBeladysBound) {
  const RoutingTrace trace = cycle(100);
  for (const std::uint32_t slots : {8u, 16u, 24u, 28u}) {
    const ReplayMemory memory = uniform_memory(trace, slots / 128.0);
    // Each token keeps all but one layer's worth of the slots for the next 7 layers.
    const double kept = (slots - 4) / 28.0;
    EXPECT_NEAR(replay_belady(trace, memory, {}).hit_rate(), kept, 0.01) << slots;
    for (const std::string_view policy : {"layer-lru", "least-stale", "lfu-decay", "forecast"})
      EXPECT_NEAR(replay(trace, memory, {.policy = policy}).hit_rate(), kept, 0.01)
          << policy << " " << slots;
  }
}

std::vector<RoutingTrace> drawn_traces() {
  std::vector<RoutingTrace> traces;
  for (const DrawnTrace& wanted :
       {DrawnTrace{.tokens = 500, .skew = 2, .persistence = 0},
        DrawnTrace{.tokens = 500, .skew = 0.7, .persistence = 1.5, .correlation = 0.8},
        DrawnTrace{.tokens = 500, .skew = 1.5, .persistence = 1, .subject_tokens = 100},
        DrawnTrace{.experts = 64, .experts_per_row = 6, .tokens = 300, .prompt_rows = 100}})
    traces.push_back(draw_trace(wanted));
  return traces;
}

TEST(Forecast, IsNearTheBestOfTheOthersWhateverMakesExpertsRecur) {
  for (const RoutingTrace& trace : drawn_traces())
    for (const double share : {0.06, 0.15, 0.3, 0.5, 0.8}) {
      const ReplayMemory memory = uniform_memory(trace, share);
      const ReplayOptions options{.count_from = trace.steps() / 4};
      const auto hit_rate = [&](std::string_view policy) {
        ReplayOptions with = options;
        with.policy = policy;
        return replay(trace, memory, with).hit_rate();
      };
      double best = 0;
      for (const std::string_view policy : policy_names()) best = std::max(best, hit_rate(policy));
      EXPECT_GT(hit_rate("forecast"), best - 0.01) << share;
    }
}

TEST(EveryPolicyOnTraces, HasOneOutcome) {
  const RoutingTrace trace = draw_trace({.tokens = 150, .prompt_rows = 20});
  const ReplayMemory memory = uniform_memory(trace, 0.3);
  const std::vector<float> popularity = popularity_of(trace, 0, 30);
  for (const std::string_view policy : policy_names()) {
    const ReplayOptions options{.policy = policy, .popularity = popularity};
    const ReplayResult first = replay(trace, memory, options);
    const ReplayResult second = replay(trace, memory, options);
    for (std::size_t layer = 0; layer < first.layers.size(); ++layer) {
      EXPECT_EQ(first.layers[layer].hits, second.layers[layer].hits) << policy;
      EXPECT_EQ(first.layers[layer].evictions, second.layers[layer].evictions) << policy;
    }
  }
}

}  // namespace
}  // namespace hearth::profiler
