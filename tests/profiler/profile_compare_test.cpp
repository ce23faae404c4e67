// How profiles differ: against distributions whose difference is known.
#include "profiler/profile_compare.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

using testing::empty_test_profile;
using testing::random_profile;

using Counts = std::vector<std::uint64_t>;

// Sums of as many terms as there are experts, each below 1 and rounded a few times.
constexpr double kRounding = 16 * 4 * 0x1p-53;

TEST(JensenShannon, IsWhatTheFormulaGives) {
  EXPECT_EQ(jensen_shannon(Counts{1, 2, 3}, Counts{1, 2, 3}), 0);
  EXPECT_NEAR(jensen_shannon(Counts{1, 2, 3}, Counts{10, 20, 30}), 0, kRounding);
  EXPECT_EQ(jensen_shannon(Counts{5, 0}, Counts{0, 7}), 1);
  // (1/2, 1/2) against (1, 0), mean (3/4, 1/4): half of log2(2/3) / 2 + log2(2) / 2 + log2(4/3).
  const double expected = (0.5 * std::log2(2.0 / 3) + 0.5 * 1 + std::log2(4.0 / 3)) / 2;
  EXPECT_NEAR(jensen_shannon(Counts{3, 3}, Counts{4, 0}), expected, kRounding);
}

TEST(JensenShannon, IsSymmetricAndAtMostOneBit) {
  EXPECT_TRUE(rc::check("jensen_shannon", [] {
    const auto experts = *rc::gen::inRange<std::size_t>(1, 16);
    const auto count = rc::gen::inRange<std::uint64_t>(0, 1000);
    Counts a = *rc::gen::container<Counts>(experts, count);
    Counts b = *rc::gen::container<Counts>(experts, count);
    ++a[0], ++b[experts - 1];  // neither is all zero
    const double bits = jensen_shannon(a, b);
    RC_ASSERT(bits >= 0 && bits <= 1);
    RC_ASSERT(std::abs(bits - jensen_shannon(b, a)) <= kRounding);
    RC_ASSERT(jensen_shannon(a, a) <= kRounding);
  }));
}

// Tokens enough for the counts of the first layer, which alone is filled.
ExpertProfile profile_of(const Counts& counts) {
  ExpertProfile profile = empty_test_profile();
  profile.workloads = {{"chat", 1000, 1000}};
  for (std::size_t i = 0; i < counts.size(); ++i) profile.layers[0].experts[i].count = counts[i];
  return profile;
}

TEST(ProfileCompare, FindsWhatIsHotInOneOnly) {
  const ExpertProfile first = profile_of({90, 80, 70, 60, 50, 40, 30, 20});
  const ExpertProfile second = profile_of({90, 10, 70, 60, 50, 40, 30, 95});
  const ProfileDifference difference = compare_profiles(first, second);
  ASSERT_EQ(difference.layers.size(), 1u);
  EXPECT_EQ(difference.unused, (std::vector<LayerIndex>{2, 3}));
  const LayerDifference& layer = difference.layers[0];
  // Of 8 experts the hottest 1, 2 and 4: {0}, {0 1}, {0 1 2 3} against {7}, {7 0}, {7 0 2 3}.
  EXPECT_EQ(layer.hot_overlap, (std::array<double, 3>{0, 0.5, 0.75}));
  EXPECT_EQ(layer.hot_only_in_first, (std::vector<std::uint16_t>{1}));
  EXPECT_EQ(layer.hot_only_in_second, (std::vector<std::uint16_t>{7}));
  EXPECT_EQ(difference.hot_only_in_first, 1u);
  EXPECT_EQ(difference.divergence, layer.divergence);
}

TEST(ProfileCompare, ExpertsNeverUsedAreNotHot) {
  const ProfileDifference difference =
      compare_profiles(profile_of({9, 0, 0, 0, 0, 0, 0, 0}), profile_of({9, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(difference.layers[0].hot_overlap, (std::array<double, 3>{1, 0.5, 0.5}));
}

TEST(ProfileCompare, OneProfileDoesNotDifferFromItself) {
  const ExpertProfile profile = random_profile(5);
  const ProfileDifference none = compare_profiles(profile, profile);
  EXPECT_NEAR(none.divergence, 0, kRounding);
  EXPECT_EQ(none.hot_overlap, (std::array<double, 3>{1, 1, 1}));
  EXPECT_EQ(none.hot_only_in_first + none.hot_only_in_second, 0u);
  EXPECT_EQ(none.layers.size(), 3u);
}

TEST(ProfileCompare, TheNoiseIsThatOfTwoSamplesOfOneDistribution) {
  // Of 8 experts, the divergence is a scaled chi-squared of 7 degrees of freedom: its standard
  // deviation is sqrt(2 / 7) of the mean. Four of those of a mean of 200 are 15 %.
  double divergence = 0, noise = 0;
  Random random(9);
  for (int pair = 0; pair < 200; ++pair) {
    Counts a(8), b(8);
    for (int i = 0; i < 2000; ++i) ++a[random.below(8)], ++b[random.below(8)];
    const LayerDifference layer = compare_profiles(profile_of(a), profile_of(b)).layers[0];
    divergence += layer.divergence, noise += layer.noise;
  }
  EXPECT_NEAR(divergence / noise, 1, 0.15);
}

TEST(ProfileCompare, ComparesQuantisationsButNotModels) {
  const ExpertProfile profile = random_profile(5);
  ExpertProfile other = profile;
  other.model.types = 77, other.model.formats = "Q8_0 100 %", other.model.samples = 5;
  EXPECT_NO_THROW(compare_profiles(profile, other));
  other.model.tensors = 1;
  EXPECT_THROW(compare_profiles(profile, other), Error);
  other = profile;
  other.layers.erase(other.layers.begin());
  EXPECT_THROW(compare_profiles(profile, other), Error);
}

}  // namespace
}  // namespace hearth::profiler
