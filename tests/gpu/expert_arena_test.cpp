// The arena of experts on an emulated device: it takes what it says, holds what it was given, and
// changes its size between steps without losing or mixing up anything.
#include "runtime/gpu/expert_arena.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/gpu/support/arena_problem.h"

namespace hearth::runtime {
namespace {

using Ids = std::vector<ExpertId>;

void put_all(ArenaProblem& problem, ExpertArena& arena, const Ids& experts) {
  for (const ExpertId id : experts)
    ASSERT_TRUE(arena.put(id, problem.source(id), problem.uploader));
}

void set_all_sources(ArenaProblem& problem, ExpertArena& arena) {
  for (const ExpertId id : ArenaProblem::all_experts()) arena.set_source(id, problem.source(id));
  arena.send_sources();
}

TEST(ExpertArena, TakesWhatItSaysAndGivesItBack) {
  ArenaProblem problem;
  const Bytes before = problem.device.memory().free;
  const std::vector<std::uint32_t> slots{9, 2};
  {
    const ExpertArena arena(ArenaProblem::experts(), slots, problem.device, *problem.stream,
                            ArenaProblem::kChunk);
    EXPECT_EQ(arena.memory(), ExpertArena::bytes_needed(ArenaProblem::experts(), slots));
    EXPECT_EQ(before - problem.device.memory().free, arena.memory());
  }
  EXPECT_EQ(problem.device.memory().free, before);
}

TEST(ExpertArena, HoldsWhatIsPutAndSaysWhenAClassIsFull) {
  ArenaProblem problem;
  ExpertArena arena(ArenaProblem::experts(), std::vector{3u, 1u}, problem.device, *problem.stream);
  const Ids most_wanted{{0, 4}, {2, 1}, {3, 2}, {0, 0}};
  put_all(problem, arena, most_wanted);
  EXPECT_FALSE(arena.put({2, 5}, problem.source({2, 5}), problem.uploader));
  EXPECT_FALSE(arena.put({3, 0}, problem.source({3, 0}), problem.uploader));
  EXPECT_EQ(arena.resident(), (Ids{{0, 0}, {0, 4}, {2, 1}, {3, 2}}));
  arena.end_changes();
  EXPECT_EQ(problem.hits_of(arena, 1), (Ids{{0, 0}, {0, 4}, {2, 1}, {3, 2}}));
}

TEST(ExpertArena, TheLeastWantedLeavesFirst) {
  ArenaProblem problem;
  ExpertArena arena(ArenaProblem::experts(), std::vector{3u, 0u}, problem.device, *problem.stream);
  put_all(problem, arena, Ids{{0, 4}, {2, 1}, {0, 0}});
  set_all_sources(problem, arena);
  arena.end_changes();
  problem.run_layer(arena, 2, 1, {3, 1, 1});  // the wrong one is computed once
  arena.begin_changes();
  EXPECT_EQ(arena.resident(), (Ids{{0, 4}, {2, 1}, {2, 3}}));
  EXPECT_EQ(arena.counters()[2],
            (kernels::ExpertCounters{.hits = 1, .fetched = 1, .evictions = 1, .faults = 1}));
}

TEST(ExpertArena, WhatIsNotInRamIsNotFetched) {
  ArenaProblem problem;
  ExpertArena arena(ArenaProblem::experts(), std::vector{4u, 4u}, problem.device, *problem.stream);
  arena.end_changes();
  arena.set_source({0, 2}, problem.source({0, 2}));
  arena.set_source({3, 1}, problem.source({3, 1}));
  arena.send_sources();
  problem.run_layer(arena, 0, 1, {0, 1, 2});
  problem.run_layer(arena, 3, 1, {0, 1, 2});
  arena.set_source({0, 0}, problem.source({0, 0}));
  arena.set_source({0, 2}, {});
  arena.send_sources();
  problem.run_layer(arena, 0, 2, {0, 1, 2});
  arena.begin_changes();
  EXPECT_EQ(arena.resident(), (Ids{{0, 0}, {0, 2}, {3, 1}}));
  EXPECT_EQ(arena.counters()[0],
            (kernels::ExpertCounters{.hits = 1, .fetched = 2, .on_host = 3, .not_in_ram = 3}));
}

// Two slots to a chunk.
TEST(ExpertArena, FewerSlotsKeepWhatWasUsedLastAndGiveMemoryBack) {
  ArenaProblem problem;
  ExpertArena arena(ArenaProblem::experts(), std::vector{6u, 2u}, problem.device, *problem.stream,
                    ArenaProblem::kChunk);
  put_all(problem, arena, Ids{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}, {3, 0}});
  arena.end_changes();
  problem.run_layer(arena, 0, 1, {3, 4, 5});
  const Bytes before = arena.memory(), free = problem.device.memory().free;

  arena.begin_changes();
  arena.set_slots(0, 3, 1);  // one of a chunk stays: nothing for others yet but the last two
  arena.end_changes();
  EXPECT_EQ(arena.slots(0), 3u);
  EXPECT_EQ(before - arena.memory(), Bytes(2 * ArenaProblem::experts().slot_bytes[0]));
  EXPECT_EQ(problem.device.memory().free - free, before - arena.memory());
  EXPECT_EQ(problem.hits_of(arena, 2), (Ids{{0, 3}, {0, 4}, {0, 5}, {3, 0}}));

  arena.begin_changes();
  arena.set_slots(0, 0, 2);
  arena.set_slots(1, 0, 2);
  arena.end_changes();
  EXPECT_EQ(problem.hits_of(arena, 3), Ids{});
  EXPECT_EQ(arena.memory() + Bytes(6 * ArenaProblem::experts().slot_bytes[0]) +
                Bytes(2 * ArenaProblem::experts().slot_bytes[1]),
            before);

  arena.begin_changes();
  arena.set_slots(0, 6, 3);
  arena.set_slots(1, 2, 3);
  arena.end_changes();
  EXPECT_EQ(arena.memory(), before);
}

// Of six slots two are held.
TEST(ExpertArena, WhatIsHeldStaysAndLeavesLast) {
  ArenaProblem problem;
  ExpertArena arena(ArenaProblem::experts(), std::vector{6u, 2u}, problem.device, *problem.stream,
                    ArenaProblem::kChunk);
  arena.hold(std::vector{2u, 2u});
  put_all(problem, arena, Ids{{0, 0}, {2, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {3, 0}});
  set_all_sources(problem, arena);
  arena.end_changes();
  EXPECT_EQ(arena.following(0), 4u);
  EXPECT_EQ(arena.following(1), 0u);
  for (std::uint32_t step = 1; step < 4; ++step) {
    problem.run_layer(arena, 2, step, {1, 2, 3});
    problem.run_layer(arena, 3, step, {1, 2, 3});
  }
  for (const ExpertId id : Ids{{0, 0}, {2, 0}, {3, 0}}) EXPECT_TRUE(arena.holds(id));
  for (const ExpertId id : Ids{{0, 1}, {2, 1}, {3, 1}}) EXPECT_FALSE(arena.holds(id));

  arena.begin_changes();
  arena.set_slots(0, 3, 3);
  EXPECT_EQ(arena.following(0), 1u);
  EXPECT_NE(arena.address({0, 0}), nullptr);
  EXPECT_NE(arena.address({2, 0}), nullptr);
  EXPECT_EQ(arena.resident().size(), 3u + 1);
  arena.set_slots(0, 1, 3);
  EXPECT_EQ(arena.following(0), 0u);
  EXPECT_EQ(arena.resident(), (Ids{{0, 0}, {3, 0}}));  // put first, and so used last
  EXPECT_FALSE(arena.holds({2, 0}));
  arena.set_slots(0, 6, 3);
  put_all(problem, arena, Ids{{2, 5}, {0, 5}});
  arena.end_changes();
  EXPECT_TRUE(arena.holds({2, 5}));
  EXPECT_FALSE(arena.holds({0, 5}));
}

TEST(ExpertArena, MemoryThatIsNotToBeHadIsOneClearLine) {
  std::uint64_t failing = 1;
  for (;; ++failing) {
    ArenaProblem problem({.failing_allocation = failing});
    try {
      const ExpertArena arena(ArenaProblem::experts(), std::vector{6u, 2u}, problem.device,
                              *problem.stream, ArenaProblem::kChunk);
      break;  // it did not ask so often
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBudget);
      EXPECT_EQ(std::string(error.what()).find("emulated: "), 0u) << error.what();
    }
  }
  EXPECT_EQ(failing - 1, 1u + 3 + 2);  // tables, chunks of both classes
}

TEST(ExpertArena, ARefusedGrowthLeavesTheArenaAsItWas) {
  ArenaProblem problem({.memory = kMiB});
  const std::uint64_t slot = ArenaProblem::experts().slot_bytes[0];
  ExpertArena arena(ArenaProblem::experts(), std::vector{8u, 0u}, problem.device, *problem.stream,
                    ArenaProblem::kChunk);
  put_all(problem, arena, Ids{{0, 0}, {2, 1}});
  arena.set_slots(0, 4, 0);
  const Bytes before = arena.memory();
  // Room for one chunk of the two.
  const Bytes rest(problem.device.memory().free.count - 3 * slot);
  const auto other = kernels::DeviceBuffer::try_allocate(problem.device, rest);
  ASSERT_TRUE(other.has_value());
  EXPECT_THROW(arena.set_slots(0, 8, 0), Error);
  EXPECT_EQ(arena.memory(), before);
  EXPECT_EQ(arena.slots(0), 4u);
  arena.end_changes();
  EXPECT_EQ(problem.hits_of(arena, 1), (Ids{{0, 0}, {2, 1}}));
}

// Steps of random routing with all that may happen between them; run_layer looks at the bytes.
TEST(ExpertArena, RandomStepsAndChangesNeverMixExpertsUp) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(seed);
    ArenaProblem problem({.lanes = seed % 2 == 0 ? 32u : 64u, .seed = seed});
    Random random(seed);
    ExpertArena arena(ArenaProblem::experts(), std::vector{9u, 4u}, problem.device, *problem.stream,
                      ArenaProblem::kChunk);
    arena.hold(std::vector{static_cast<std::uint32_t>(seed % 3), seed % 2 == 0 ? 0u : 1u});
    put_all(problem, arena, Ids{{0, 1}, {2, 1}, {3, 3}, {2, 5}});
    set_all_sources(problem, arena);
    arena.end_changes();
    EXPECT_EQ(arena.holds({0, 1}), seed % 3 > 0);
    for (std::uint32_t step = 1; step < 14; ++step) {
      problem.run_step(arena, step, random);
      for (const ExpertId id : ArenaProblem::all_experts())
        if (random.below(6) == 0)
          arena.set_source(id, random.below(3) == 0 ? kernels::ExpertSource{} : problem.source(id));
      arena.send_sources();
      if (random.below(3) > 0) continue;
      arena.begin_changes();
      arena.set_slots(0, static_cast<std::uint32_t>(random.below(10)), step);
      arena.set_slots(1, static_cast<std::uint32_t>(random.below(5)), step);
      EXPECT_LE(arena.resident().size(), arena.slots(0) + arena.slots(1));
      arena.end_changes();
    }
    std::uint64_t hits = 0;
    for (const kernels::ExpertCounters& layer : arena.counters()) hits += layer.hits;
    EXPECT_GT(hits, 20u);
  }
}

}  // namespace
}  // namespace hearth::runtime
