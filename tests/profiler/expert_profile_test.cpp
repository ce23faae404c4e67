// What a recorder counts, against what the decisions say when counted by hand.
#include "profiler/expert_profile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/profiler/support/allocations.h"
#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

using testing::empty_test_profile;
using testing::observe;
using testing::random_profile;
using testing::random_step;
using testing::TestStep;
using testing::token;

// The rounding of `recent`, and of the sums behind it.
constexpr double kRecentStep = 1e-4 / 2 + 1e-9;

TEST(ExpertProfile, CountsTokensAndTheirExperts) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  observe(recorder, {0, {{{0, 1}, {0, 2}}, {{7, 3}, {7, 3}}, {{5, 0}, {1, 5}}}});
  observe(recorder, {2, {{{0, 4}}, {{7, 6}}, {{5, 2}}}});
  const ExpertProfile profile = recorder.profile();
  ASSERT_EQ(profile.workloads.size(), 1u);
  EXPECT_EQ(profile.workloads[0], (Workload{"chat", 3, 1}));
  EXPECT_EQ(profile.tokens(), 3u);
  EXPECT_EQ(profile.layers[0].experts[0].count, 3u);
  EXPECT_EQ(profile.layers[0].experts[3].count, 0u);
  EXPECT_EQ(profile.layer(2)->experts[7].count, 3u);
  EXPECT_EQ(profile.layer(3)->experts[5].count, 3u);
  EXPECT_EQ(profile.layer(1), nullptr);
  for (const LayerProfile& layer : profile.layers)
    EXPECT_EQ(layer.uses(), 3 * testing::kTestTopK) << layer.layer;
}

TEST(ExpertProfile, KeepsWorkloadsApartByLabel) {
  ProfileRecorder first(empty_test_profile(), "code");
  observe(first, token(0, 0, 1));
  ProfileRecorder second(first.profile(), "chat");
  observe(second, token(0, 0, 1));
  observe(second, token(1, 0, 1));
  ProfileRecorder third(second.profile(), "code");
  observe(third, token(0, 0, 1));
  const std::vector<Workload> expected = {{"code", 2, 2}, {"chat", 2, 2}};
  EXPECT_EQ(third.profile().workloads, expected);
}

TEST(ExpertProfile, ReuseIsTheDistanceInTokensWithinASequence) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  observe(recorder, token(0, 0, 1));
  observe(recorder, token(1, 0, 2));  // 0 after 1 token
  observe(recorder, token(2, 3, 4));
  observe(recorder, token(3, 1, 2));              // 1 after 3, 2 after 2
  observe(recorder, {4, {3, {{0, 5}, {5, 0}}}});  // 0 after 3 and after 1, 5 after 1
  ReuseHistogram expected{};
  expected[0] = 3;
  expected[1] = 3;
  EXPECT_EQ(recorder.profile().layers[0].reuse, expected);

  observe(recorder, token(0, 0, 5));  // another text
  EXPECT_EQ(recorder.profile().layers[0].reuse, expected);
  observe(recorder, token(1, 0, 3));
  ++expected[0];
  EXPECT_EQ(recorder.profile().layers[0].reuse, expected);
  observe(recorder, token(9, 0, 3));  // cut and continued elsewhere
  EXPECT_EQ(recorder.profile().layers[0].reuse, expected);
}

TEST(ExpertProfile, TheLastBucketTakesAllLongDistances) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  constexpr std::uint32_t kFar = (1u << kReuseBuckets) + 5;
  observe(recorder, token(0, 0, 1));
  for (std::uint32_t i = 1; i < kFar; ++i) observe(recorder, token(i, 2, 3));
  observe(recorder, token(kFar, 0, 1));
  const ReuseHistogram reuse = recorder.profile().layers[0].reuse;
  EXPECT_EQ(reuse.back(), 2u);
  EXPECT_EQ(reuse[0], 2u * (kFar - 2));
}

TEST(ExpertProfile, RecentHalvesInAHalfLife) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  observe(recorder, token(0, 0, 1));
  const auto half_life = static_cast<std::uint32_t>(kHalfLife);
  for (std::uint32_t i = 1; i <= half_life; ++i) observe(recorder, token(i, 2, 3));
  const ExpertProfile profile = recorder.profile();
  EXPECT_NEAR(profile.layers[0].experts[0].recent, 0.5, kRecentStep);
  EXPECT_EQ(profile.layers[0].experts[0].count, 1u);

  // The others were used by each of those tokens: a geometric sum.
  const double factor = std::exp2(-1 / kHalfLife);
  EXPECT_NEAR(profile.layers[0].experts[2].recent, 0.5 / (1 - factor), kRecentStep);
}

TEST(ExpertProfile, APromptWeighsAndAgesLess) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  observe(recorder, token(0, 0, 1));
  const auto prompt = static_cast<std::size_t>(kHalfLife);
  observe(
      recorder,
      {1, {3, std::vector<std::vector<std::uint16_t>>(prompt, std::vector<std::uint16_t>{2, 3})}});
  const ExpertProfile profile = recorder.profile();
  EXPECT_NEAR(profile.layers[0].experts[0].recent, std::exp2(-kPromptWeight), kRecentStep);
  const double factor = std::exp2(-kPromptWeight / kHalfLife);
  const double sum = kPromptWeight * (1 - std::pow(factor, kHalfLife)) / (1 - factor);
  EXPECT_NEAR(profile.layers[0].experts[2].recent, sum, kRecentStep);
  EXPECT_EQ(profile.layers[0].experts[2].count, prompt);
}

TEST(ExpertProfile, RecentSurvivesTheRescalingOfItsWeight) {
  // After 70 half-lives of tokens the scale has been reset once, and nothing shows of it.
  ProfileRecorder recorder(empty_test_profile(), "chat");
  const auto tokens = static_cast<std::uint32_t>(70 * kHalfLife);
  for (std::uint32_t i = 0; i < tokens; ++i) {
    const std::vector<std::uint16_t> chosen = {0, 1};
    recorder.observe({.layer = 0, .rows = 1, .experts_per_row = 2, .experts = chosen});
  }
  const double factor = std::exp2(-1 / kHalfLife);
  // A sum of 2.9e5 terms, each rounded to 2^-53 of the sum: a relative error below 4e-11.
  EXPECT_NEAR(recorder.profile().layers[0].experts[0].recent, 1 / (1 - factor), 1e-4);
}

TEST(ExpertProfile, PartnersAreTheExpertsOfTheNextLayerOfTheSameToken) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  // Expert 0 of block 0 goes with 7 of block 2 three times, with 6 twice, with 5 once.
  observe(recorder, {0, {{{0, 1}, {0, 2}}, {{7, 6}, {6, 7}}, {{0, 1}, {0, 1}}}});
  observe(recorder, {2, {{{0, 3}}, {{5, 7}}, {{2, 1}}}});
  const ExpertProfile profile = recorder.profile();
  const std::array<Partner, kPartners> expected = {{{7, 3}, {6, 2}, {5, 1}, {0, 0}}};
  EXPECT_EQ(profile.layers[0].experts[0].partners, expected);
  const std::array<Partner, kPartners> of_third = {{{5, 1}, {7, 1}, {0, 0}, {0, 0}}};
  EXPECT_EQ(profile.layers[0].experts[3].partners, of_third);
  for (const ExpertHistory& expert : profile.layers.back().experts)
    EXPECT_EQ(expert.partners, (std::array<Partner, kPartners>{}));
}

TEST(ExpertProfile, AStepThatWasGivenUpLeavesNoPartners) {
  ProfileRecorder recorder(empty_test_profile(), "chat");
  observe(recorder, {0, {{{0, 1}}, {{7, 6}}}});  // no third layer
  observe(recorder, {1, {{{2, 3}}, {{5, 4}}, {{1, 0}}}});
  const ExpertProfile profile = recorder.profile();
  EXPECT_EQ(profile.layers[1].experts[7].partners[0].count, 0u);
  EXPECT_EQ(profile.layers[1].experts[5].partners[0].count, 1u);
}

TEST(ExpertProfile, ContinuingLosesOnlyWhatIsDocumented) {
  // Counts and workloads are those of one run; `recent` differs by its rounding, and partners and
  // distances of reuse by what was forgotten.
  Random random(7);
  ProfileRecorder whole(empty_test_profile(), "chat");
  ProfileRecorder first(empty_test_profile(), "chat");
  std::vector<TestStep> steps;
  for (std::uint32_t i = 0; i < 400; ++i) steps.push_back(random_step(random, i, 1, 2));
  for (const TestStep& step : steps) observe(whole, step);
  for (std::size_t i = 0; i < 200; ++i) observe(first, steps[i]);
  ProfileRecorder second(first.profile(), "chat");
  for (std::size_t i = 200; i < 400; ++i) observe(second, steps[i]);

  const ExpertProfile expected = whole.profile(), found = second.profile();
  EXPECT_EQ(found.workloads, expected.workloads);
  for (std::size_t nth = 0; nth < expected.layers.size(); ++nth)
    for (std::size_t i = 0; i < expected.layers[nth].experts.size(); ++i) {
      const ExpertHistory& a = found.layers[nth].experts[i];
      const ExpertHistory& b = expected.layers[nth].experts[i];
      EXPECT_EQ(a.count, b.count);
      EXPECT_NEAR(a.recent, b.recent, 2 * kRecentStep);
      for (std::size_t k = 0; k < kPartners; ++k)
        EXPECT_LE(a.partners[k].count, b.partners[k].count);
    }
}

TEST(ExpertProfile, PopularityIsUsesPerToken) {
  const ExpertProfile profile = random_profile(3);
  const std::vector<float> popularity = profile.popularity();
  const ExpertSpace space{profile.model.layers, profile.model.experts_per_layer};
  ASSERT_EQ(popularity.size(), space.size());
  for (std::uint32_t block = 0; block < space.layers; ++block) {
    float sum = 0;
    for (std::uint16_t i = 0; i < space.experts_per_layer; ++i)
      sum += popularity[space.flat({static_cast<LayerIndex>(block), i})];
    // A sum of 8 floats below 1, each rounded once.
    EXPECT_NEAR(sum, testing::kTestLayers[block] == 0 ? 0 : testing::kTestTopK, 1e-6) << block;
  }
  for (const float uses : empty_test_profile().popularity()) EXPECT_EQ(uses, 0);
}

TEST(ExpertProfile, ObservingAllocatesNothing) {
  Random random(11);
  ProfileRecorder recorder(empty_test_profile(), "chat");
  std::vector<std::uint16_t> experts;
  for (int row = 0; row < 600; ++row)
    for (const std::uint16_t expert : testing::choose_two(random, 6, 1)) experts.push_back(expert);
  const std::uint64_t before = hearth::testing::allocations();
  for (std::uint32_t i = 0; i < 100; ++i)
    for (const LayerIndex block : {0, 2, 3}) {
      const std::uint32_t rows = i % 7 == 0 ? 600 : 1;
      recorder.observe({.layer = block,
                        .rows = rows,
                        .experts_per_row = 2,
                        .experts = std::span(experts).first(2 * rows),
                        .position = i});
    }
  EXPECT_EQ(hearth::testing::allocations(), before);
}

}  // namespace
}  // namespace hearth::profiler
