#include "profiler/replay.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

#include "base/random.h"
#include "tests/profiler/support/tier.h"
#include "tests/profiler/support/traces.h"

namespace hearth::profiler {
namespace {

using testing::add_step;
using testing::draw_trace;
using testing::DrawnTrace;
using testing::empty_trace;

ReplayMemory memory_of(const RoutingTrace& trace, std::vector<std::uint32_t> slots_of_class) {
  Residency::Config config = testing::make_config(trace.header().space(), slots_of_class);
  ReplayMemory memory{config.size_class_of, slots_of_class, {}};
  for (std::size_t i = 0; i < slots_of_class.size(); ++i)
    memory.expert_bytes_of_class.push_back(Bytes(1000 + i));
  return memory;
}

std::uint64_t routed(const ReplayResult& result) { return result.total.hits + result.total.misses; }

TEST(Replay, CountsHitsMissesAndEvictionsPerLayer) {
  RoutingTrace trace = empty_trace({2, 4}, 2);
  add_step(trace, {{0, 1}, {0, 1}});
  add_step(trace, {{1, 2}, {0, 1}});
  const ReplayResult result = replay(trace, memory_of(trace, {4}), {.policy = "lru"});
  // Step 0 fills the four slots; in step 1, expert 2 takes the place of 0 in layer 0.
  EXPECT_EQ(result.total.hits, 3u);
  EXPECT_EQ(result.total.misses, 5u);
  EXPECT_EQ(result.total.evictions, 1u);
  EXPECT_EQ(result.layers[0].hits, 1u);
  EXPECT_EQ(result.layers[0].misses, 3u);
  EXPECT_EQ(result.layers[0].evictions, 1u);
  EXPECT_EQ(result.layers[1].evictions, 0u);
  EXPECT_EQ(result.missed, Bytes(5 * 1000));
  EXPECT_EQ(result.rows, 2u);
  EXPECT_DOUBLE_EQ(result.hit_rate(), 3.0 / 8);
}

TEST(Replay, AChunkOfMoreExpertsThanSlotsIsServedInTurn) {
  RoutingTrace trace = empty_trace({1, 8}, 2);
  add_step(trace, {{0, 1, 2, 3, 4, 0}});  // 5 experts, 2 slots
  add_step(trace, {{3, 4}});
  const ReplayResult result = replay(trace, memory_of(trace, {2}), {.policy = "lru"});
  EXPECT_EQ(result.total.misses, 5u);
  EXPECT_EQ(result.total.hits, 2u);  // the last two to be served
  EXPECT_EQ(result.total.evictions, 3u);
  EXPECT_EQ(result.rows, 4u);
}

TEST(Replay, PresentExpertsAreLeasedBeforeAnythingIsEvicted) {
  RoutingTrace trace = empty_trace({1, 8}, 2);
  add_step(trace, {{0, 1}});
  add_step(trace, {{2, 0}});  // without a lease, 0 would go for 2
  const ReplayResult result = replay(trace, memory_of(trace, {2}), {.policy = "lru"});
  EXPECT_EQ(result.total.hits, 1u);
}

TEST(Replay, SeedsThoseThatFitTheMostWantedLast) {
  RoutingTrace trace = empty_trace({1, 8}, 1);
  add_step(trace, {{5}});
  add_step(trace, {{1}});  // evicts the least wanted seed that fits, 2
  add_step(trace, {{0}});
  add_step(trace, {{2}});
  const std::vector<ExpertId> seed = {{0, 5}, {0, 0}, {0, 2}, {0, 7}};
  const ReplayResult result = replay(trace, memory_of(trace, {3}), {.policy = "lru", .seed = seed});
  EXPECT_EQ(result.total.hits, 2u);
  EXPECT_EQ(result.total.misses, 2u);
}

TEST(Replay, WarmsUpUncounted) {
  const RoutingTrace trace = draw_trace({.tokens = 100});
  const ReplayMemory memory = memory_of(trace, {60});
  const ReplayResult all = replay(trace, memory, {.policy = "lru"});
  const ReplayResult first = replay(trace, memory, {.policy = "lru", .last_step = 40});
  const ReplayResult rest = replay(trace, memory, {.policy = "lru", .count_from = 40});
  EXPECT_EQ(first.total.hits + rest.total.hits, all.total.hits);
  EXPECT_EQ(first.total.evictions + rest.total.evictions, all.total.evictions);
  EXPECT_EQ(first.missed + rest.missed, all.missed);
  EXPECT_EQ(rest.rows, 60u);
}

TEST(Replay, CountsEveryDistinctRoutedExpertOnce) {
  const RoutingTrace trace = draw_trace({.tokens = 50, .prompt_rows = 30});
  std::uint64_t distinct = 0;
  for (std::size_t step = 0; step < trace.steps(); ++step)
    for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth) {
      const Routing routing = trace.decision(step, nth);
      distinct += std::set<std::uint16_t>(routing.experts.begin(), routing.experts.end()).size();
    }
  const ReplayMemory memory = memory_of(trace, {8, 9});
  for (const std::string_view policy : policy_names())
    EXPECT_EQ(routed(replay(trace, memory, {.policy = policy})), distinct) << policy;
  EXPECT_EQ(routed(replay_belady(trace, memory, {})), distinct);
}

TEST(Belady, GivesUpWhatIsWantedLatest) {
  RoutingTrace trace = empty_trace({1, 8}, 1);
  for (const std::uint16_t expert : {0, 1, 2, 0, 1, 3, 0, 1}) add_step(trace, {{expert}});
  // With two slots: 2 takes the place of 1, then 1 that of 2, then 3 one of both.
  const ReplayResult result = replay_belady(trace, memory_of(trace, {2}), {});
  EXPECT_EQ(result.total.misses, 6u);
  EXPECT_EQ(result.total.hits, 2u);
  EXPECT_EQ(result.total.evictions, 4u);
}

TEST(Belady, IsNeverBeatenByAPolicy) {
  for (const std::uint64_t seed : {1, 2, 3})
    for (const std::uint32_t prompt_rows : {0u, 40u})
      for (const std::uint32_t slots : {4u, 20u, 33u, 100u, 250u}) {
        const RoutingTrace trace =
            draw_trace({.tokens = 120, .prompt_rows = prompt_rows, .seed = seed});
        const ReplayMemory memory = memory_of(trace, {slots, slots / 2 + 4});
        for (const std::size_t from : {0u, 30u}) {
          const ReplayResult best = replay_belady(trace, memory, {.count_from = from});
          for (const std::string_view policy : policy_names())
            EXPECT_GE(best.total.hits,
                      replay(trace, memory, {.policy = policy, .count_from = from}).total.hits)
                << policy << " " << slots << " " << seed << " " << prompt_rows << " " << from;
        }
      }
}

TEST(Belady, IsNeverBeatenOnRandomTraces) {
  EXPECT_TRUE(rc::check([] {
    const ExpertSpace space{*rc::gen::inRange<std::uint32_t>(1, 4),
                            *rc::gen::inRange<std::uint32_t>(4, 12)};
    RoutingTrace trace = empty_trace(space, 2);
    const auto steps = *rc::gen::inRange<std::size_t>(1, 60);
    const auto draws = *rc::gen::container<std::vector<std::uint32_t>>(
        steps * space.layers, rc::gen::inRange<std::uint32_t>(0, 1u << 30));
    for (std::size_t step = 0; step < steps; ++step) {
      trace.begin_step({static_cast<std::uint32_t>(step), 1});
      for (LayerIndex layer = 0; layer < space.layers; ++layer) {
        const std::uint32_t draw = draws[step * space.layers + layer];
        const std::uint32_t one = draw % space.experts_per_layer;
        const std::uint32_t far = 1 + draw / 64 % (space.experts_per_layer - 1);
        const std::uint16_t row[] = {
            static_cast<std::uint16_t>(one),
            static_cast<std::uint16_t>((one + far) % space.experts_per_layer)};
        trace.add(testing::one_row(layer, row));
      }
    }
    const ReplayMemory memory =
        memory_of(trace, {*rc::gen::inRange<std::uint32_t>(2, space.size() + 1)});
    const std::size_t from = *rc::gen::inRange<std::size_t>(0, steps);
    const std::uint64_t bound = replay_belady(trace, memory, {.count_from = from}).total.hits;
    for (const std::string_view policy : policy_names())
      RC_ASSERT(bound >= replay(trace, memory, {.policy = policy, .count_from = from}).total.hits);
  }));
}

// The most hits by trying every victim: what Belady's rule must find.
std::uint64_t best_by_search(const std::vector<std::uint16_t>& uses, std::size_t next,
                             std::set<std::uint16_t> held, std::size_t slots) {
  if (next == uses.size()) return 0;
  const std::uint16_t use = uses[next];
  if (held.contains(use)) return 1 + best_by_search(uses, next + 1, held, slots);
  if (held.size() < slots) {
    held.insert(use);
    return best_by_search(uses, next + 1, held, slots);
  }
  std::uint64_t best = 0;
  for (const std::uint16_t victim : held) {
    std::set<std::uint16_t> after = held;
    after.erase(victim);
    after.insert(use);
    best = std::max(best, best_by_search(uses, next + 1, std::move(after), slots));
  }
  return best;
}

TEST(Belady, IsTheBestThereIs) {
  Random random(5);
  for (int round = 0; round < 30; ++round) {
    RoutingTrace trace = empty_trace({1, 6}, 1);
    std::vector<std::uint16_t> uses;
    for (int i = 0; i < 13; ++i) {
      uses.push_back(static_cast<std::uint16_t>(random.below(6)));
      add_step(trace, {{uses.back()}});
    }
    for (const std::uint32_t slots : {1u, 2u, 3u})
      EXPECT_EQ(replay_belady(trace, memory_of(trace, {slots}), {}).total.hits,
                best_by_search(uses, 0, {}, slots));
  }
}

TEST(StaticSet, IsCountedByHand) {
  RoutingTrace trace = empty_trace({2, 4}, 2);
  add_step(trace, {{0, 1}, {2, 3}});
  add_step(trace, {{0, 2, 0, 3}, {2, 3, 1, 0}});
  const std::vector<float> popularity = popularity_of(trace, 0, trace.steps());
  EXPECT_FLOAT_EQ(popularity[0], 1.0f);
  EXPECT_FLOAT_EQ(popularity[4 + 1], 1.0f / 3);
  // Class 0 is layer 0: holds 0 and, of the tie, 1. Class 1 is layer 1: holds 2.
  const ReplayResult result =
      replay_static(trace, memory_of(trace, {2, 1}), {.popularity = popularity});
  EXPECT_EQ(result.layers[0].hits, 2u + 1u);
  EXPECT_EQ(result.layers[0].misses, 0u + 2u);
  EXPECT_EQ(result.layers[1].hits, 1u + 1u);
  EXPECT_EQ(result.layers[1].misses, 1u + 3u);
  EXPECT_EQ(result.missed, Bytes(2 * 1000 + 4 * 1001));
  EXPECT_EQ(result.total.evictions, 0u);
}

TEST(UniformMemory, HoldsAShareButNoLessThanARow) {
  const RoutingTrace trace = empty_trace({4, 32}, 4);
  EXPECT_EQ(uniform_memory(trace, 0).slots_of_class, std::vector<std::uint32_t>{4});
  EXPECT_EQ(uniform_memory(trace, 0.25).slots_of_class, std::vector<std::uint32_t>{32});
  EXPECT_EQ(uniform_memory(trace, 1).slots_of_class, std::vector<std::uint32_t>{128});
}

}  // namespace
}  // namespace hearth::profiler
