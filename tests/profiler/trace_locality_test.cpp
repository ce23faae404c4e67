#include "profiler/trace_locality.h"

#include <gtest/gtest.h>

namespace hearth::profiler {
namespace {

// One layer of five experts, one of them a token.
RoutingTrace trace_of(std::initializer_list<std::uint16_t> experts) {
  TraceHeader header;
  header.model.layers = 1;
  header.model.experts_per_layer = 5;
  header.layers = {{0, 5}};
  header.experts_per_row = 1;
  header.has_weights = false;
  RoutingTrace trace(header);
  std::uint32_t token = 0;
  for (const std::uint16_t expert : experts) {
    trace.begin_step({token, 1});
    trace.add({0, 1, 1, std::span(&expert, 1), {}, token++});
  }
  return trace;
}

TEST(TraceLocality, CountsByHand) {
  const TraceLocality locality = measure_locality(trace_of({0, 1, 0, 0, 2, 1, 0, 3}));
  const LayerLocality& layer = locality.layers[0];
  EXPECT_EQ(layer.total, 8u);
  EXPECT_EQ(layer.uses, (std::vector<std::uint64_t>{4, 2, 1, 1, 0}));
  EXPECT_EQ(layer.touched(), 4u);
  // Expert 0 returns after 2, 1 and 3 tokens, expert 1 after 4.
  EXPECT_DOUBLE_EQ(locality.reused_within(1), 1.0 / 8);
  EXPECT_DOUBLE_EQ(locality.reused_within(3), 3.0 / 8);
  EXPECT_DOUBLE_EQ(locality.reused_within(4), 4.0 / 8);
  // With 1, 0, 2 and 2 other experts in between.
  EXPECT_EQ(layer.others_between, (std::vector<std::uint64_t>{1, 1, 2, 0, 0}));
  EXPECT_DOUBLE_EQ(layer.lru_hit_rate(0), 0);
  EXPECT_DOUBLE_EQ(layer.lru_hit_rate(2), 2.0 / 8);
  EXPECT_DOUBLE_EQ(layer.lru_hit_rate(100), 4.0 / 8);
  EXPECT_DOUBLE_EQ(layer.covered(1), 4.0 / 8);
  EXPECT_DOUBLE_EQ(layer.covered(2), 6.0 / 8);
  EXPECT_EQ(layer.experts_covering(0.5), 1u);
  EXPECT_EQ(layer.experts_covering(0.75), 2u);
  EXPECT_EQ(layer.experts_covering(1.0), 4u);
}

TEST(TraceLocality, AHotSetOfOtherTrafficCoversLess) {
  const TraceLocality here = measure_locality(trace_of({0, 0, 0, 1, 2}));
  const TraceLocality there = measure_locality(trace_of({2, 2, 1}));
  EXPECT_DOUBLE_EQ(here.layers[0].covered_by(there.layers[0], 1), 1.0 / 5);
  EXPECT_DOUBLE_EQ(here.layers[0].covered_by(there.layers[0], 2), 2.0 / 5);
}

TEST(TraceLocality, DistancesBeyondTheWindowAreCountedTogether) {
  TraceHeader header = trace_of({0}).header();
  RoutingTrace trace(header);
  for (std::uint32_t token = 0; token < 202; ++token) {
    const std::uint16_t expert = token == 0 || token == 201 ? 4 : 0;
    trace.begin_step({token, 1});
    trace.add({0, 1, 1, std::span(&expert, 1), {}, token});
  }
  EXPECT_EQ(measure_locality(trace).layers[0].reused_after[kReuseWindow], 1u);
}

TEST(TraceLocality, RowsOfAPromptAreTokens) {
  RoutingTrace trace(trace_of({0}).header());
  const std::uint16_t experts[] = {3, 3, 1, 3};
  trace.begin_step({0, 4});
  trace.add({0, 4, 1, experts, {}, 0});
  const LayerLocality layer = measure_locality(trace).layers[0];
  EXPECT_EQ(layer.total, 4u);
  EXPECT_EQ(layer.reused_after[0], 1u);
  EXPECT_EQ(layer.reused_after[1], 1u);
}

}  // namespace
}  // namespace hearth::profiler
