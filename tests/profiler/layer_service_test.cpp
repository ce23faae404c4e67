#include "profiler/layer_service.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"
#include "profiler/replay.h"
#include "tests/profiler/support/tier.h"
#include "tests/profiler/support/traces.h"

namespace hearth::profiler {
namespace {

using testing::draw_trace;
using testing::make_config;
using testing::make_residency;

std::vector<std::uint16_t> indices(std::span<const ExpertId> experts) {
  std::vector<std::uint16_t> found;
  for (const ExpertId id : experts) found.push_back(id.index);
  return found;
}

TEST(LayerService, ListsDistinctExpertsThePresentFirst) {
  LayerService service(8);
  const std::uint16_t rows[] = {5, 1, 7, 1, 2, 5};
  service.begin({.layer = 3, .rows = 3, .experts_per_row = 2, .experts = rows},
                [](ExpertId id) { return id.index == 7 || id.index == 2; });
  EXPECT_EQ(indices(service.experts()), (std::vector<std::uint16_t>{7, 2, 5, 1}));
  EXPECT_EQ(service.experts()[0].layer, 3);
  EXPECT_EQ(service.present(), 2u);
}

TEST(LayerService, TakesUntilThereIsNoSlotAndAgainWithEveryOneGivenBack) {
  LayerService service(8);
  const std::uint16_t row[] = {0, 1, 2, 3, 4};
  service.begin({.layer = 0, .rows = 1, .experts_per_row = 5, .experts = row},
                [](ExpertId) { return false; });
  std::vector<std::string> events;
  int slots = 2;
  const auto take = [&](std::size_t place) {
    if (slots == 0) return false;
    --slots;
    events.push_back("take " + std::to_string(place));
    return true;
  };
  const auto give_back = [&](std::size_t place) {
    ++slots;
    events.push_back("give " + std::to_string(place));
  };
  service.take_waiting(take);
  EXPECT_EQ(events, (std::vector<std::string>{"take 0", "take 1"}));
  events.clear();
  // 1 is done before 0, but has to wait for it.
  service.give_back_done(
      {.done = [](std::size_t place) { return place == 1; }, .give_back = give_back, .take = take});
  EXPECT_TRUE(events.empty());
  service.give_back_done(
      {.done = [](std::size_t place) { return place < 3; }, .give_back = give_back, .take = take});
  EXPECT_EQ(events,
            (std::vector<std::string>{"give 0", "take 2", "give 1", "take 3", "give 2", "take 4"}));
  EXPECT_FALSE(service.finished());
  service.give_back_done(
      {.done = [](std::size_t) { return true; }, .give_back = give_back, .take = take});
  EXPECT_TRUE(service.finished());
}

TEST(LayerService, ForgetsWhatWasLeftUnfinished) {
  LayerService service(4);
  const std::uint16_t row[] = {0, 1};
  const Routing routing{.layer = 0, .rows = 1, .experts_per_row = 2, .experts = row};
  service.begin(routing, [](ExpertId) { return true; });
  service.take_waiting([](std::size_t) { return true; });
  service.begin(routing, [](ExpertId) { return false; });
  std::size_t taken = 0;
  service.take_waiting([&](std::size_t place) { return place == taken++; });
  EXPECT_EQ(taken, 2u);
}

// What an engine does whose reads finish and whose experts are computed in any order.
void serve_in_any_order(Residency& tier, LayerService& service, const Routing& routing,
                        Random& random) {
  tier.observe(routing);
  service.begin(routing, [&](ExpertId id) { return tier.state(id) != ExpertState::kAbsent; });
  std::set<std::size_t> taken, computed;
  const auto take = [&](std::size_t place) {
    const ExpertId id = service.experts()[place];
    if (tier.state(id) == ExpertState::kAbsent && !tier.begin_fill(id, FillReason::kDemand))
      return false;
    tier.lease(id);
    taken.insert(place);
    return true;
  };
  service.take_waiting(take);
  while (!service.finished()) {
    for (const std::size_t place : taken) {
      if (computed.contains(place) || random.below(2) == 0) continue;
      const ExpertId id = service.experts()[place];
      if (tier.state(id) == ExpertState::kFilling) tier.fill_done(id);
      computed.insert(place);
    }
    service.give_back_done(
        {.done = [&](std::size_t place) { return computed.contains(place); },
         .give_back = [&](std::size_t place) { tier.release(service.experts()[place]); },
         .take = take});
  }
}

TEST(LayerService, TheOrderOfCompletionChangesNoDecision) {
  const RoutingTrace trace = draw_trace({.tokens = 40, .prompt_rows = 30});
  const ExpertSpace space = trace.header().space();
  for (const std::string_view policy : policy_names())
    for (const std::uint32_t slots : {4u, 9u, 40u}) {
      const auto config = make_config(space, {slots, slots + 3});
      Residency tier = make_residency(policy, config);
      LayerService service(space.experts_per_layer);
      Random random(slots);
      for (std::size_t step = 0; step < trace.steps(); ++step) {
        tier.begin_step();
        for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth)
          serve_in_any_order(tier, service, trace.decision(step, nth), random);
      }
      const ReplayResult expected =
          replay(trace, {config.size_class_of, config.slots_of_class, {Bytes(1), Bytes(1)}},
                 {.policy = policy});
      for (LayerIndex layer = 0; layer < space.layers; ++layer) {
        EXPECT_EQ(tier.counters(layer).hits, expected.layers[layer].hits) << policy << slots;
        EXPECT_EQ(tier.counters(layer).misses, expected.layers[layer].misses) << policy << slots;
        EXPECT_EQ(tier.counters(layer).evictions, expected.layers[layer].evictions)
            << policy << slots;
      }
    }
}

}  // namespace
}  // namespace hearth::profiler
