#include "profiler/prefetch_budget.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace hearth::profiler {
namespace {

using Mode = PrefetchBudget::Mode;

constexpr PrefetchBudget::Config kConfig{.largest_expert = kMiB, .experts_per_token = 8};
constexpr int kBeforeFirstTrial = 256;

// A machine whose step takes 60 ms, and on which a prefetch changes that by the factor `with`.
struct Machine {
  double with = 1.0;
  double noise = 0.0;  // standard deviation of a step time
  double precision = 0.8;
  Random random{1};

  PrefetchObservation step(bool prefetch) {
    const double factor = (prefetch ? with : 1.0) * (1 + noise * random.normal());
    PrefetchObservation seen{.step_time = Nanoseconds(static_cast<std::int64_t>(60e6 * factor))};
    if (prefetch) {
      seen.issued = 20;
      seen.used = static_cast<std::uint32_t>(20 * precision);
    }
    return seen;
  }
};

void run(PrefetchBudget& budget, Machine& machine, int steps) {
  for (int i = 0; i < steps; ++i) budget.observe(machine.step(budget.next_layer() > Bytes(0)));
}

TEST(PrefetchBudget, ATrialMeasuresBothWaysEquallyLong) {
  PrefetchBudget budget(kConfig);
  Machine machine;
  run(budget, machine, kBeforeFirstTrial);
  int with = 0;
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(budget.mode(), Mode::kTrial);
    with += budget.next_layer() > Bytes(0);
    run(budget, machine, 1);
  }
  EXPECT_EQ(with, 64);
  EXPECT_NE(budget.mode(), Mode::kTrial);
}

TEST(PrefetchBudget, StaysOnWhereItGainsAndKeepsMeasuring) {
  PrefetchBudget budget(kConfig);
  Machine machine{.with = 0.8};
  run(budget, machine, kBeforeFirstTrial - 1);
  EXPECT_EQ(budget.mode(), Mode::kOn);  // from the start
  run(budget, machine, 1 + 128);
  EXPECT_EQ(budget.mode(), Mode::kOn);
  EXPECT_NEAR(*budget.measured_gain(), 0.2, 1e-6);
  EXPECT_NEAR(budget.precision(), 0.8, 1e-9);
  run(budget, machine, 1024);
  EXPECT_EQ(budget.mode(), Mode::kTrial);
  machine.with = 1.1;  // the machine has changed
  run(budget, machine, 128);
  EXPECT_EQ(budget.mode(), Mode::kOff);
  EXPECT_EQ(budget.next_layer(), Bytes(0));
}

TEST(PrefetchBudget, TurnsOffWhereItGainsNothingAndRetriesEverMoreRarely) {
  PrefetchBudget budget(kConfig);
  Machine machine{.with = 1.01};
  run(budget, machine, kBeforeFirstTrial);
  for (const int off : {512, 1024, 2048, 4096, 8192, 8192}) {
    run(budget, machine, 128);
    EXPECT_EQ(budget.mode(), Mode::kOff);
    run(budget, machine, off - 1);
    EXPECT_EQ(budget.mode(), Mode::kOff);
    run(budget, machine, 1);
    EXPECT_EQ(budget.mode(), Mode::kTrial);
  }
}

TEST(PrefetchBudget, HysteresisLiesBetweenNoLossAndAThirtiethOfGain) {
  PrefetchBudget running(kConfig);
  Machine slight{.with = 0.98};
  run(running, slight, kBeforeFirstTrial + 128);
  EXPECT_EQ(running.mode(), Mode::kOn);

  PrefetchBudget stopped(kConfig);
  Machine machine{.with = 1.1};
  run(stopped, machine, kBeforeFirstTrial + 128);
  EXPECT_EQ(stopped.mode(), Mode::kOff);
  machine.with = 0.98;
  run(stopped, machine, 512 + 128);
  EXPECT_EQ(stopped.mode(), Mode::kOff);
  machine.with = 0.8;
  run(stopped, machine, 1024 + 128);
  EXPECT_EQ(stopped.mode(), Mode::kOn);
}

TEST(PrefetchBudget, NoiseRarelyMisleadsATrial) {
  // Noise of 15 % gives the compared medians a difference with a standard deviation of 3.3 %. A
  // gain of 20 % is then 5 deviations from being missed; a loss of 10 % is 4 from being kept.
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    PrefetchBudget gains(kConfig), loses(kConfig);
    Machine good{.with = 0.8, .noise = 0.15, .random = Random(seed)};
    Machine bad{.with = 1.1, .noise = 0.15, .random = Random(seed)};
    run(gains, good, kBeforeFirstTrial + 128);
    run(loses, bad, kBeforeFirstTrial + 128);
    EXPECT_EQ(gains.mode(), Mode::kOn) << seed;
    EXPECT_EQ(loses.mode(), Mode::kOff) << seed;
  }
}

TEST(PrefetchBudget, UselessGuessesEndItWithoutATrial) {
  PrefetchBudget budget(kConfig);
  Machine machine{.with = 0.5, .precision = 0.1};
  run(budget, machine, 16);
  EXPECT_EQ(budget.mode(), Mode::kOff);
}

TEST(PrefetchBudget, WrongGuessesShrinkItAndRightOnesRestoreIt) {
  PrefetchBudget budget(kConfig);
  EXPECT_EQ(budget.next_layer(), kMiB * 2);  // a quarter of top-8
  Machine poor{.precision = 0.4};
  run(budget, poor, 16);
  EXPECT_EQ(budget.next_layer(), kMiB);
  run(budget, poor, 16 * 10);
  EXPECT_EQ(budget.next_layer(), kMiB);  // never below one expert while it is on
  Machine middling{.precision = 0.6};
  run(budget, middling, 16);
  EXPECT_EQ(budget.next_layer(), kMiB);
  Machine good{.precision = 0.9};
  run(budget, good, 16);
  EXPECT_EQ(budget.next_layer(), kMiB * 2);
  run(budget, good, 16 * 10);
  EXPECT_EQ(budget.next_layer(), kMiB * 2);
}

}  // namespace
}  // namespace hearth::profiler
