#include "profiler/synthetic_trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"
#include "profiler/trace_locality.h"

namespace hearth::profiler {
namespace {

SyntheticRouting small_routing() {
  return {.name = "small",
          .layers = 3,
          .experts = 32,
          .experts_per_row = 4,
          .skew = 1,
          .moods = {{1, 4}, {1, 60}}};
}

std::vector<std::uint16_t> choices(const SyntheticRouting& routing, std::uint32_t tokens) {
  const RoutingTrace trace = make_synthetic_trace(routing, tokens, "");
  std::vector<std::uint16_t> all;
  for (std::size_t step = 0; step < trace.steps(); ++step)
    for (std::size_t layer = 0; layer < trace.header().layers.size(); ++layer) {
      const Routing routed = trace.decision(step, layer);
      all.insert(all.end(), routed.experts.begin(), routed.experts.end());
    }
  return all;
}

// Written down on x86-64 with g++ 12: every platform must give these.
TEST(SyntheticTrace, IsTheSameEverywhere) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::uint16_t expert : choices(small_routing(), 200))
    hash = (hash ^ expert) * 0x100000001b3;
  EXPECT_EQ(hash, 8022755557194726963u);
}

TEST(SyntheticTrace, DependsOnTheSeed) {
  SyntheticRouting routing = small_routing();
  const auto first = choices(routing, 50);
  routing.seed = 2;
  EXPECT_NE(choices(routing, 50), first);
}

// A longer trace continues a shorter one: lengths can be compared.
TEST(SyntheticTrace, IsAPrefixOfALongerOne) {
  const auto shorter = choices(small_routing(), 40);
  auto longer = choices(small_routing(), 90);
  longer.resize(shorter.size());
  EXPECT_EQ(longer, shorter);
}

TEST(SyntheticTrace, ChoosesDistinctExpertsOfTheLayer) {
  SyntheticRouting routing = small_routing();
  routing.experts = 5;
  const RoutingTrace trace = make_synthetic_trace(routing, 100, "five");
  ASSERT_EQ(trace.steps(), 100u);
  EXPECT_EQ(trace.rows(), 100u);
  EXPECT_EQ(trace.header().workload, "five");
  EXPECT_FALSE(trace.header().has_weights);
  for (std::size_t step = 0; step < trace.steps(); ++step) {
    EXPECT_EQ(trace.step(step).position, step);
    for (std::size_t layer = 0; layer < 3; ++layer) {
      const Routing routed = trace.decision(step, layer);
      EXPECT_EQ(std::set(routed.experts.begin(), routed.experts.end()).size(), 4u);
      EXPECT_LT(*std::ranges::max_element(routed.experts), 5u);
    }
  }
}

// Without skew and moods every expert has the same chance. 6 standard deviations of a count of
// n = 4000 * 4 / 32 = 500: below 6 * sqrt(500) = 134.
TEST(SyntheticTrace, WithoutSkewAllExpertsAreEqual) {
  const SyntheticRouting routing{.name = "even", .layers = 2, .experts = 32, .experts_per_row = 4};
  for (const LayerLocality& layer :
       measure_locality(make_synthetic_trace(routing, 4000, "")).layers)
    for (const std::uint64_t uses : layer.uses) EXPECT_NEAR(static_cast<double>(uses), 500, 134);
}

TEST(SyntheticTrace, EarlyLayersAreMoreEven) {
  SyntheticRouting routing = small_routing();
  routing.first_layer = 0;
  routing.even_layers = 2;
  const TraceLocality locality = measure_locality(make_synthetic_trace(routing, 2000, ""));
  EXPECT_LT(locality.layers[0].covered(4), 0.16);  // 4 of 32, and chance
  EXPECT_GT(locality.layers[1].covered(4), locality.layers[0].covered(4) + 0.05);
  EXPECT_GT(locality.layers[2].covered(4), locality.layers[1].covered(4) + 0.05);
}

TEST(SyntheticTrace, ALongerMoodReachesFarther) {
  const auto reuse = [](double tokens) {
    SyntheticRouting routing = small_routing();
    routing.skew = 0;
    routing.moods = {{3, tokens}};
    return measure_locality(make_synthetic_trace(routing, 2000, ""));
  };
  const TraceLocality brief = reuse(2), lasting = reuse(200);
  EXPECT_GT(lasting.reused_within(1), brief.reused_within(1) + 0.1);
  EXPECT_GT(lasting.lru_hit_rate(8), brief.lru_hit_rate(8) + 0.1);
  // Over a long time none of them has favourites, the brief one less than the lasting one.
  EXPECT_LT(brief.covered(8), lasting.covered(8));
}

TEST(SyntheticTrace, ATopicHasItsOwnExpertsAndTheyReturnWithIt) {
  SyntheticRouting routing = small_routing();
  routing.skew = 0;
  routing.moods = {};
  routing.topic_strength = 3;
  const auto of_topic = [&routing](std::uint32_t topic, std::uint64_t seed) {
    routing.first_topic = topic;
    routing.seed = seed;
    return measure_locality(make_synthetic_trace(routing, 400, "")).layers[0];
  };
  const LayerLocality first = of_topic(0, 1), again = of_topic(0, 2), other = of_topic(1, 3);
  EXPECT_GT(again.covered_by(first, 8), 0.9 * again.covered(8));
  EXPECT_LT(other.covered_by(first, 8), 0.6 * other.covered(8));
}

TEST(SyntheticTrace, TopicsSwitchOnTime) {
  SyntheticRouting routing = small_routing();
  routing.skew = 0;
  routing.moods = {};
  routing.topic_strength = 4;
  routing.topics = 2;
  routing.topic_tokens = 100;
  const RoutingTrace trace = make_synthetic_trace(routing, 400, "");
  // Uses of the expert that topic 0 likes best, per hundred tokens: much, little, much, little.
  std::vector<std::vector<int>> uses(4, std::vector<int>(32));
  for (std::size_t step = 0; step < trace.steps(); ++step)
    for (const std::uint16_t expert : trace.decision(step, 0).experts) ++uses[step / 100][expert];
  const auto overlap = [&uses](std::size_t a, std::size_t b) {
    return std::inner_product(uses[a].begin(), uses[a].end(), uses[b].begin(), 0);
  };
  EXPECT_GT(overlap(0, 2), 2 * overlap(0, 1));
  EXPECT_GT(overlap(1, 3), 2 * overlap(1, 2));
}

TEST(SyntheticTrace, RefusesNumbersOutOfRange) {
  const auto refused = [](auto change) {
    SyntheticRouting routing = small_routing();
    change(routing);
    EXPECT_THROW(make_synthetic_trace(routing, 10, ""), Error);
  };
  refused([](auto& routing) { routing.layers = 0; });
  refused([](auto& routing) { routing.layers = 1 << 20; });
  refused([](auto& routing) { routing.experts = 1 << 20; });
  refused([](auto& routing) { routing.experts_per_row = 33; });
  refused([](auto& routing) { routing.skew = -1; });
  refused([](auto& routing) { routing.skew = 17; });
  refused([](auto& routing) { routing.moods[0].tokens = 0.5; });
  refused([](auto& routing) { routing.first_layer = 1.5; });
  refused([](auto& routing) { routing.layer_spread = 2; });
  refused([](auto& routing) { routing.topics = 0; });
  refused([](auto& routing) { routing.topic_tokens = 0; });
  EXPECT_THROW(make_synthetic_trace(small_routing(), 0, ""), Error);
}

TEST(SyntheticTrace, NumbersOfTheLargestSizeStayInRange) {
  SyntheticRouting routing{.name = "large",
                           .layers = 1,
                           .experts = kMostSyntheticExperts,
                           .experts_per_row = kMostSyntheticExperts,
                           .skew = 16,
                           .moods = {{16, 1}}};
  const RoutingTrace trace = make_synthetic_trace(routing, 2, "");
  std::vector<std::uint16_t> experts(trace.decision(1, 0).experts.begin(),
                                     trace.decision(1, 0).experts.end());
  std::ranges::sort(experts);
  EXPECT_EQ(std::ranges::adjacent_find(experts), experts.end());
}

}  // namespace
}  // namespace hearth::profiler
