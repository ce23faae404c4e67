#include "profiler/lane_tuner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace hearth::profiler {
namespace {

constexpr PrefetchLink kLink{.rate = 24e9,
                             .layers = 48,
                             .largest_expert = Bytes(2400000),  // 100 µs
                             .experts_per_token = 8};

// A device whose layers compute for a while and then wait for what they fetch. A prefetch that the
// link carries meanwhile spares some of the fetches; what it does not carry stands before the next.
struct ModelledDevice {
  double compute = 250e-6;  // of a layer
  double fetches = 0.6;     // of a layer, where nothing was prefetched
  double right = 0.7;       // of guesses
  double expert = 100e-6;   // on the link
  double others = 0;        // seconds of a layer in which others have the link
  double noise = 0.02;

  double layer(double prefetched) const {
    const double idle = std::max(compute - others, 0.0);
    const double late = std::max(prefetched * expert - idle, 0.0);
    return compute + late + std::max(fetches - right * prefetched, 0.0) * expert;
  }
};

struct ModelledRun {
  ModelledDevice device;
  LaneTuner tuner;
  Random random{5};
  double issued = 0, used = 0;
  std::uint32_t with = 0;  // steps

  void steps(int count) {
    for (int i = 0; i < count; ++i) {
      const double prefetched = tuner.prefetch_limit(0);
      with += tuner.prefetches() ? 1 : 0;
      issued += prefetched * kLink.layers;
      used += device.right * prefetched * kLink.layers;
      const double noise = 1 + device.noise * random.normal();
      const double seconds = kLink.layers * device.layer(prefetched) * noise;
      tuner.observe(Nanoseconds(static_cast<std::int64_t>(seconds * 1e9)),
                    {static_cast<std::uint64_t>(issued), static_cast<std::uint64_t>(used)});
    }
  }
};

TEST(LaneTuner, PrefetchesNothingBeforeItHasMeasuredLayers) {
  ModelledRun run{.device = {}, .tuner = {1, 0, kLink}};
  for (int step = 0; step < 16; ++step, run.steps(1)) EXPECT_FALSE(run.tuner.prefetches());
  EXPECT_TRUE(run.tuner.prefetches());
}

// A layer of about 310 µs has room for three experts, of which a quarter of a token's need may be
// guessed.
TEST(LaneTuner, FetchesTakeTheirTimeOfTheLinkFirst) {
  ModelledRun run{.device = {.noise = 0}, .tuner = {1, 0, kLink}};
  run.steps(16);
  EXPECT_EQ(run.tuner.prefetch_limit(0), 2u);
  EXPECT_EQ(run.tuner.prefetch_limit(1), 2u);
  EXPECT_EQ(run.tuner.prefetch_limit(2), 1u);
  EXPECT_EQ(run.tuner.prefetch_limit(3), 0u);
  EXPECT_EQ(run.tuner.prefetch_limit(64), 0u);
}

TEST(LaneTuner, StaysOnWhereTheLinkIsIdle) {
  ModelledRun run{.device = {}, .tuner = {1, 0, kLink}};
  run.steps(10000);
  EXPECT_EQ(run.tuner.prefetch().mode(), PrefetchBudget::Mode::kOn);
  EXPECT_GT(*run.tuner.prefetch().measured_gain(), 0.1);
  EXPECT_GT(run.with, 9000u);
}

// Another program has the link, which nobody knows but by the time of steps.
TEST(LaneTuner, TurnsOffWhereTheLinkIsSaturated) {
  ModelledRun run{.device = {.others = 250e-6}, .tuner = {1, 0, kLink}};
  run.steps(10000);
  EXPECT_LT(run.with, 1200u);
  EXPECT_LT(*run.tuner.prefetch().measured_gain(), 0);
  run.device.others = 0;  // and is gone
  run.steps(12000);
  EXPECT_EQ(run.tuner.prefetch().mode(), PrefetchBudget::Mode::kOn);
}

TEST(LaneTuner, TurnsOffWhereGuessesAreWrong) {
  ModelledRun run{.device = {.right = 0.05, .noise = 0}, .tuner = {1, 0, kLink}};
  run.steps(64);
  EXPECT_FALSE(run.tuner.prefetches());
}

TEST(LaneTuner, AsksForNothingWhereLayersAreShorterThanAnExpert) {
  ModelledRun run{.device = {.compute = 40e-6, .fetches = 0.2}, .tuner = {1, 0, kLink}};
  run.steps(2000);
  EXPECT_EQ(run.with, 0u);
}

TEST(LaneTuner, WithoutALinkOnlyTheSplitIsTried) {
  LaneTuner tuner(7, 3, {});
  bool tried = false;
  for (int step = 0; step < 2000; ++step) {
    EXPECT_FALSE(tuner.prefetches());
    tuner.observe(Nanoseconds(1000000), {});
    tried |= tuner.rung() != 3;
  }
  EXPECT_TRUE(tried);
}

TEST(LaneTuner, TriesOneThingAtATime) {
  ModelledRun run{.device = {.noise = 0}, .tuner = {7, 3, kLink}};
  run.steps(16);
  bool searched = false, tried = false;
  for (int step = 0; step < 6000; ++step) {
    const std::uint32_t rung = run.tuner.rung();
    const bool prefetched = run.tuner.prefetches(), searching = !run.tuner.split().resting();
    const bool trying = run.tuner.prefetch().mode() == PrefetchBudget::Mode::kTrial;
    run.steps(1);
    searched |= run.tuner.rung() != rung;
    tried |= run.tuner.prefetches() != prefetched;
    if (searching && !run.tuner.split().resting()) {
      ASSERT_EQ(run.tuner.prefetches(), prefetched);
    }
    if (trying && !searching) {
      ASSERT_EQ(run.tuner.rung(), rung);
    }
  }
  EXPECT_TRUE(searched && tried);
}

}  // namespace
}  // namespace hearth::profiler
