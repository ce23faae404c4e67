#include "profiler/step_split.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

namespace hearth::profiler {
namespace {

constexpr double kMegabyte = 1e6;

// A card behind PCIe 4 beside a CPU of about the same rate.
constexpr LaneCosts kEven{
    .gpu_rate = 1000e9, .link_rate = 20e9, .cpu_rate = 20e9, .both_rate = 40e9};

TEST(StepSplit, LanesThatAreEquallyFastShareEqually) {
  EXPECT_EQ(fetch_table(kEven, {.used = 8, .expert_bytes = kMegabyte}),
            (FetchTable{0, 0, 1, 1, 2, 2, 3, 3, 4}));
}

TEST(StepSplit, MemoryThatServesOnlyOneLaneIsNotShared) {
  LaneCosts costs = kEven;
  costs.cpu_rate = costs.both_rate = 40e9;  // the CPU alone takes all that memory gives
  EXPECT_EQ(fetch_table(costs, {.used = 4, .expert_bytes = kMegabyte}),
            (FetchTable{0, 0, 0, 0, 0}));
}

TEST(StepSplit, ALaneMustEarnWhatItCostsToJoin) {
  // An expert takes 50 us on either lane, and one that was fetched 1 us more. Of three, shared, two
  // take 102 and the join 60, where all three take 153 on one lane; of four they take 204.
  LaneCosts costs = kEven;
  costs.cpu_join = 60e-6;
  EXPECT_EQ(fetch_table(costs, {.used = 4, .expert_bytes = kMegabyte}),
            (FetchTable{0, 1, 2, 3, 2}));
  costs.cpu_join = 0;
  costs.link_join = 60e-6;
  EXPECT_EQ(fetch_table(costs, {.used = 4, .expert_bytes = kMegabyte}),
            (FetchTable{0, 0, 0, 0, 2}));
}

TEST(StepSplit, TheTimeIsThatOfTheLongestLaneAndWhatFollows) {
  // 8 MB of hits at 1000 GB/s are 8 us, 2 fetched at 20 GB/s 100 us and 2 us more from VRAM, 3 on
  // the CPU 150 us; together 5 MB at 40 GB/s, 125 us.
  EXPECT_DOUBLE_EQ(layer_seconds(kEven, kMegabyte, {.hits = 8, .fetched = 2, .on_cpu = 3}), 152e-6);
  LaneCosts narrow = kEven;
  narrow.both_rate = 20e9;
  EXPECT_DOUBLE_EQ(layer_seconds(narrow, kMegabyte, {.hits = 8, .fetched = 2, .on_cpu = 3}),
                   252e-6);
  EXPECT_DOUBLE_EQ(layer_seconds(kEven, kMegabyte, {}), 0);
}

double positive(int least, int most) { return *rc::gen::inRange(least, most) * 1e9; }

LaneCosts any_costs() {
  LaneCosts costs{.gpu_rate = positive(100, 4000),
                  .link_rate = positive(2, 100),
                  .cpu_rate = positive(2, 400),
                  .link_join = *rc::gen::inRange(0, 60) * 1e-6,
                  .cpu_join = *rc::gen::inRange(0, 60) * 1e-6};
  // Between the faster of the two alone and both beside one another.
  const double slower = std::min(costs.link_rate, costs.cpu_rate);
  costs.both_rate =
      std::max(costs.link_rate, costs.cpu_rate) + slower * *rc::gen::inRange(0, 101) / 100;
  return costs;
}

LayerExperts any_experts() {
  return {.used = *rc::gen::inRange<std::uint32_t>(0, 33),
          .expert_bytes = *rc::gen::inRange(1, 20'000) * 1e3};
}

TEST(StepSplit, IsNeverSlowerThanOneLaneAlone) {
  ASSERT_TRUE(rc::check([] {
    const LaneCosts costs = any_costs();
    const LayerExperts experts = any_experts();
    const auto hits = *rc::gen::inRange<std::uint32_t>(0, 9);
    const LaneCounts counts = split_misses(costs, experts.expert_bytes, hits, experts.used);
    RC_ASSERT(counts.fetched + counts.on_cpu == experts.used);
    RC_ASSERT(counts.hits == hits);
    const double seconds = layer_seconds(costs, experts.expert_bytes, counts);
    for (std::uint32_t fetched = 0; fetched <= experts.used; ++fetched)
      RC_ASSERT(seconds <= layer_seconds(costs, experts.expert_bytes,
                                         {hits, fetched, experts.used - fetched}));
  }));
}

// Where nothing but the lanes' own rates matters, they finish within one expert of the other lane.
TEST(StepSplit, LanesFinishTogether) {
  ASSERT_TRUE(rc::check([] {
    LaneCosts costs = any_costs();
    costs.both_rate = costs.link_rate + costs.cpu_rate;
    costs.link_join = costs.cpu_join = 0;
    costs.gpu_rate = 1e18;
    const LayerExperts experts = any_experts();
    const LaneCounts counts = split_misses(costs, experts.expert_bytes, 0, experts.used);
    const double of_link = experts.expert_bytes / costs.link_rate;
    const double of_cpu = experts.expert_bytes / costs.cpu_rate;
    const double apart = counts.fetched * of_link - counts.on_cpu * of_cpu;
    RC_ASSERT(apart <= of_cpu * 1.001);  // else one more on the CPU would be sooner
    RC_ASSERT(-apart <= of_link * 1.001);
  }));
}

TEST(FetchLadder, GoesFromNothingToAllWithoutAStepBack) {
  ASSERT_TRUE(rc::check([] {
    const LaneCosts costs = any_costs();
    const LayerExperts experts = any_experts();
    const FetchLadder ladder = fetch_ladder(costs, experts);
    RC_ASSERT(ladder.rungs[ladder.measured] == fetch_table(costs, experts));
    for (std::uint32_t misses = 0; misses <= experts.used; ++misses) {
      RC_ASSERT(ladder.rungs.front()[misses] == 0u);
      RC_ASSERT(ladder.rungs.back()[misses] == misses);
      for (std::size_t i = 1; i < ladder.rungs.size(); ++i)
        RC_ASSERT(ladder.rungs[i - 1][misses] <= ladder.rungs[i][misses]);
    }
    for (std::size_t i = 1; i < ladder.rungs.size(); ++i)
      RC_ASSERT(ladder.rungs[i - 1] != ladder.rungs[i]);
  }));
}

}  // namespace
}  // namespace hearth::profiler
