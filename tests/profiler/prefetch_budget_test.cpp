#include "profiler/prefetch_budget.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace hearth::profiler {
namespace {

using Mode = PrefetchBudget::Mode;

constexpr PrefetchBudget::Config kConfig{
    .moe_layers = 10, .largest_expert = kMiB, .experts_per_token = 8};

// A machine whose step takes 40 ms of compute and 20 ms of waiting for 40 MiB at 2000 MiB/s, and
// on which a prefetch changes the step time by the factor `with`.
struct Machine {
  double with = 1.0;
  double noise = 0.0;  // standard deviation of a step time
  double precision = 0.8;
  double late = 0.0;  // of the used
  Random random{1};

  PrefetchObservation step(bool prefetch) {
    const double factor = (prefetch ? with : 1.0) * (1 + noise * random.normal());
    PrefetchObservation seen{.step_time = Nanoseconds(static_cast<std::int64_t>(60e6 * factor)),
                             .disk_wait = Nanoseconds(20'000'000),
                             .demanded = kMiB * 40};
    if (prefetch) {
      seen.issued = 20;
      seen.prefetched = kMiB * 20;
      seen.used = static_cast<std::uint32_t>(20 * precision);
      seen.late = static_cast<std::uint32_t>(seen.used * late);
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
  run(budget, machine, 128);
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
  Machine machine{.with = 1.0};
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
  PrefetchBudget fresh(kConfig);
  Machine slight{.with = 0.98};
  run(fresh, slight, 128);
  EXPECT_EQ(fresh.mode(), Mode::kOff);

  PrefetchBudget running(kConfig);
  Machine machine{.with = 0.9};
  run(running, machine, 128 + 1024);
  machine.with = 0.98;
  run(running, machine, 128);
  EXPECT_EQ(running.mode(), Mode::kOn);
}

TEST(PrefetchBudget, NoiseRarelyMisleadsATrial) {
  // Noise of 15 % gives the compared medians a difference with a standard deviation of 3.3 %. A
  // gain of 20 % is then 5 deviations from being missed; a loss of 10 % is 4 from being kept.
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    PrefetchBudget gains(kConfig), loses(kConfig);
    Machine good{.with = 0.8, .noise = 0.15, .random = Random(seed)};
    Machine bad{.with = 1.1, .noise = 0.15, .random = Random(seed)};
    run(gains, good, 128);
    run(loses, bad, 128);
    EXPECT_EQ(gains.mode(), Mode::kOn) << seed;
    EXPECT_EQ(loses.mode(), Mode::kOff) << seed;
  }
}

TEST(PrefetchBudget, UselessGuessesEndATrialEarly) {
  PrefetchBudget budget(kConfig);
  Machine machine{.with = 0.5, .precision = 0.1};
  run(budget, machine, 32);  // one window without, one with
  EXPECT_EQ(budget.mode(), Mode::kOff);
}

TEST(PrefetchBudget, SpendsAPartOfTheIdleLink) {
  // 40 ms idle at 2000 MiB/s over 10 layers are 8 MiB for each layer; half of it to begin with.
  PrefetchBudget budget(kConfig);
  Machine machine{.with = 1.0, .precision = 0.6, .late = 0.2};  // neither good nor bad
  run(budget, machine, 16);
  EXPECT_NEAR(static_cast<double>(budget.next_layer().count), 4.0 * 1024 * 1024, 16.0);

  Machine punctual{.with = 0.8, .precision = 0.9};
  run(budget, punctual, 112);
  EXPECT_EQ(budget.mode(), Mode::kOn);
  EXPECT_GT(budget.next_layer(), kMiB * 4);
  run(budget, punctual, 128);
  EXPECT_LE(budget.next_layer(), kMiB * 8);

  Machine tardy{.with = 0.8, .precision = 0.9, .late = 0.5};
  run(budget, tardy, 256);
  EXPECT_EQ(budget.next_layer(), kMiB);  // an eighth of it, and never below one expert
}

TEST(PrefetchBudget, IssuesNothingBeforeTheLinkIsKnown) {
  PrefetchBudget budget(kConfig);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(budget.next_layer(), Bytes(0));
    budget.observe({.step_time = Nanoseconds(1'000'000)});  // everything is resident
  }
}

}  // namespace
}  // namespace hearth::profiler
