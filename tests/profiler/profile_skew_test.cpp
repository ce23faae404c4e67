// Skew of distributions whose measures are known.
#include "profiler/profile_skew.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

// Sums of eight terms below 1.
constexpr double kRounding = 8 * 4 * 0x1p-53;

LayerProfile layer_of(const std::vector<std::uint64_t>& counts) {
  LayerProfile layer{.layer = 5};
  for (const std::uint64_t count : counts) layer.experts.push_back({.count = count});
  return layer;
}

TEST(ProfileSkew, OfEvenUse) {
  const LayerSkew skew = skew_of(layer_of({10, 10, 10, 10, 10, 10, 10, 10}));
  EXPECT_EQ(skew.layer, 5);
  EXPECT_EQ(skew.experts, 8u);
  EXPECT_EQ(skew.used, 8u);
  EXPECT_EQ(skew.for_half, 4u);
  EXPECT_EQ(skew.for_nine_tenths, 8u);
  EXPECT_NEAR(skew.entropy, 1, kRounding);
  EXPECT_NEAR(skew.gini, 0, kRounding);
}

TEST(ProfileSkew, OfASingleExpert) {
  const LayerSkew skew = skew_of(layer_of({0, 0, 0, 40}));
  EXPECT_EQ(skew.used, 1u);
  EXPECT_EQ(skew.for_half, 1u);
  EXPECT_EQ(skew.for_nine_tenths, 1u);
  EXPECT_EQ(skew.entropy, 0);
  EXPECT_NEAR(skew.gini, 0.75, kRounding);  // 1 - 1 / experts: all go to one of four
}

TEST(ProfileSkew, OfSharesInBetween) {
  // 1/2, 1/4, 1/8, 1/8: 1.75 bits of at most 2.
  const LayerSkew skew = skew_of(layer_of({1, 4, 1, 2}));
  EXPECT_EQ(skew.for_half, 1u);
  EXPECT_EQ(skew.for_nine_tenths, 4u);
  EXPECT_NEAR(skew.entropy, 1.75 / 2, kRounding);
  // Mean difference of all pairs over twice the mean: (2 * (0 + 1 + 1 + 3 + 3 + 2) / 16) / 4.
  EXPECT_NEAR(skew.gini, 20.0 / 16 / 4, kRounding);
}

TEST(ProfileSkew, CountsWhatComesBackSoon) {
  LayerProfile layer = layer_of({50, 50});
  layer.reuse = {20, 15, 5, 30};
  EXPECT_NEAR(skew_of(layer).reused_soon, 0.4, kRounding);
}

TEST(ProfileSkew, WithoutUsesThereIsNone) {
  const LayerSkew skew = skew_of(layer_of({0, 0, 0}));
  EXPECT_EQ(skew.used + skew.for_half + skew.for_nine_tenths, 0u);
  EXPECT_EQ(skew.entropy, 0);
  EXPECT_EQ(skew.gini, 0);
}

TEST(ProfileSkew, TotalsAreSumsAndMeansOfUsedLayers) {
  const std::vector<LayerSkew> layers = {skew_of(layer_of({10, 10, 10, 10})),
                                         skew_of(layer_of({0, 0, 0, 40})),
                                         skew_of(layer_of({0, 0}))};
  const LayerSkew total = total_of(layers);
  EXPECT_EQ(total.experts, 10u);
  EXPECT_EQ(total.used, 5u);
  EXPECT_EQ(total.for_half, 3u);
  EXPECT_NEAR(total.entropy, 0.5, kRounding);
  EXPECT_NEAR(total.gini, 0.375, kRounding);
}

}  // namespace
}  // namespace hearth::profiler
