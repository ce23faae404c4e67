// How fast pairs of channels turn: plainly, slowed down, and as YaRN has it.
#include "runtime/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "runtime/blocks/attention.h"

namespace hearth::runtime {
namespace {

TEST(Rotary, PairsTurnByPowersOfTheBase) {
  const RotarySpec spec{.dims = 64, .base = 10000};
  for (std::uint32_t i = 0; i < 32; ++i)
    EXPECT_DOUBLE_EQ(rotary_frequency(spec, i), std::pow(10000.0, -static_cast<double>(i) / 32));
}

TEST(Rotary, LinearScalingSlowsAllPairs) {
  const RotarySpec plain{.dims = 64}, slowed{.dims = 64, .speed = 0.25f};
  for (std::uint32_t i = 0; i < 32; ++i)
    EXPECT_DOUBLE_EQ(rotary_frequency(slowed, i), rotary_frequency(plain, i) / 4);
}

// Pairs that turn more than 32 times within the original context keep their speed, those that turn
// less than once are slowed down fully, up to the rounding of their places to whole pairs.
TEST(Rotary, YarnSlowsPairsThatTurnRarely) {
  const RotarySpec plain{.dims = 128, .base = 150000};
  RotarySpec yarn = plain;
  yarn.speed = 1.0f / 32;
  yarn.original_context = 4096;
  const auto turns = [&](std::uint32_t i) {
    return rotary_frequency(plain, i) * 4096 / (2 * std::numbers::pi);
  };
  double before = 1;
  for (std::uint32_t i = 0; i < 64; ++i) {
    const double kept = rotary_frequency(yarn, i) / rotary_frequency(plain, i);
    EXPECT_LE(kept, before + 1e-12);
    before = kept;
    if (i + 1 < 64 && turns(i + 1) > 32) {
      EXPECT_DOUBLE_EQ(kept, 1);
    }
    if (i > 0 && turns(i - 1) < 1) {
      EXPECT_DOUBLE_EQ(kept, 1.0 / 32);
    }
  }
  EXPECT_DOUBLE_EQ(before, 1.0 / 32);
}

TEST(QueryStretch, GrowsByStepsOfItsContext) {
  const QueryStretch stretch{.every = 8192, .slope = 0.1f};
  EXPECT_EQ(stretch.factor(0), 1.0f);
  EXPECT_EQ(stretch.factor(8190), 1.0f);
  EXPECT_NEAR(stretch.factor(8191), 1 + 0.1 * std::log(2.0), 1e-7);
  EXPECT_NEAR(stretch.factor(3 * 8192 + 5), 1 + 0.1 * std::log(4.0), 1e-7);
}

}  // namespace
}  // namespace hearth::runtime
