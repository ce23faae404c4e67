#include "profiler/routing_trace.h"

#include <gtest/gtest.h>

#include "tests/profiler/support/random_trace.h"

namespace hearth::profiler {
namespace {

TraceHeader two_layers() {
  TraceHeader header;
  header.model = {.layers = 4, .experts_per_layer = 8};
  header.layers = {{1, 8}, {3, 4}};
  header.experts_per_row = 2;
  return header;
}

TEST(RoutingTrace, KeepsEveryDecisionInItsPlace) {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    const TraceHeader header = testing::random_header(random);
    RoutingTrace trace(header);
    std::vector<testing::OwnedRouting> added;
    std::uint64_t rows = 0;
    for (std::uint32_t s = 0; s < 6; ++s) {
      const TraceStep step{.position = s * 7, .rows = 1 + s % 3};
      rows += step.rows;
      trace.begin_step(step);
      for (const TraceLayer& layer : header.layers) {
        added.push_back(testing::random_routing(random, header, layer, step, false));
        trace.add(added.back().view());
      }
    }
    ASSERT_EQ(trace.steps(), 6u);
    EXPECT_EQ(trace.rows(), rows);
    for (std::size_t s = 0; s < trace.steps(); ++s)
      for (std::size_t n = 0; n < header.layers.size(); ++n) {
        const testing::OwnedRouting& expected = added[s * header.layers.size() + n];
        const Routing found = trace.decision(s, n);
        EXPECT_EQ(found.layer, expected.layer);
        EXPECT_EQ(found.rows, trace.step(s).rows);
        EXPECT_EQ(found.position, s * 7);
        EXPECT_TRUE(std::equal(found.experts.begin(), found.experts.end(), expected.experts.begin(),
                               expected.experts.end()));
        const float equal = 1.0f / static_cast<float>(header.experts_per_row);
        for (std::size_t i = 0; i < found.weights.size(); ++i)
          EXPECT_EQ(found.weights[i], header.has_weights ? expected.weights[i] : equal);
        EXPECT_EQ(found.weights.size(), found.experts.size());
      }
  }
}

TEST(RoutingTrace, AHeaderThatContradictsItselfIsNamed) {
  EXPECT_EQ(two_layers().flaw(), std::nullopt);
  const auto flaw_of = [](auto change) {
    TraceHeader header = two_layers();
    change(header);
    return header.flaw().value_or("none");
  };
  EXPECT_EQ(flaw_of([](auto& h) { h.layers.clear(); }), "names no layer with experts");
  EXPECT_EQ(flaw_of([](auto& h) { h.experts_per_row = 0; }), "has no experts for a row");
  EXPECT_EQ(flaw_of([](auto& h) { h.layers[1].layer = 1; }), "is not in ascending order");
  EXPECT_EQ(flaw_of([](auto& h) { h.model.layers = 3; }),
            "names a layer that the model does not have");
  EXPECT_EQ(flaw_of([](auto& h) { h.model.experts_per_layer = 7; }),
            "gives a layer more experts than the model");
  EXPECT_EQ(flaw_of([](auto& h) { h.experts_per_row = 5; }),
            "gives a layer fewer experts than a row uses");
}

TEST(RoutingTraceDeathTest, AnotherOrderOrShapeIsABug) {
  const std::vector<std::uint16_t> experts = {0, 3};
  const std::vector<float> weights = {0.5, 0.5};
  Routing routing{1, 1, 2, experts, weights, 0};
  RoutingTrace trace(two_layers());
  EXPECT_DEATH(trace.add(routing), "steps_");
  trace.begin_step({.position = 0, .rows = 1});
  EXPECT_DEATH(trace.begin_step({.position = 1, .rows = 1}), "layers_added_");
  routing.layer = 3;
  EXPECT_DEATH(trace.add(routing), "layer");
  routing.layer = 1;
  trace.add(routing);
  EXPECT_DEATH(trace.decision(0, 1), "experts_.size");
  routing.layer = 3;
  const std::vector<std::uint16_t> beyond = {0, 4};
  routing.experts = beyond;
  EXPECT_DEATH(trace.add(routing), "4 against 4");
  routing.experts = experts;
  routing.weights = {};
  EXPECT_DEATH(trace.add(routing), "weights");
}

}  // namespace
}  // namespace hearth::profiler
