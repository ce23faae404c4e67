// The sampler: each step on small cases worked out by hand, and the draw's distribution.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "runtime/sampler/sampler.h"

namespace hearth::runtime {
namespace {

// Everything off but the draw at temperature 1.
SamplerOptions plain_draw(std::uint64_t seed = 1) {
  return {.seed = seed, .temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f};
}

std::vector<float> log_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (double p : probabilities) logits.push_back(static_cast<float>(std::log(p)) + 3.0f);
  return logits;
}

// The tokens that come up in many draws. A kept token of probability p is missed by `draws` draws
// with probability (1 - p)^draws: for p >= 0.05 and 1000 draws, below 1e-22.
std::set<TokenId> drawn(const SamplerOptions& options, const std::vector<float>& logits) {
  Sampler sampler(options, logits.size(), 16);
  std::set<TokenId> tokens;
  for (int i = 0; i < 1000; ++i) tokens.insert(sampler.sample(logits));
  return tokens;
}

TEST(Sampler, GreedyTakesTheLargestAndTheSmallestIdAmongEquals) {
  const std::vector<float> logits = {1.0f, 5.0f, 5.0f, -2.0f};
  EXPECT_EQ(argmax(logits), 1);
  for (float temperature : {0.0f, -1.0f}) {
    Sampler sampler({.temperature = temperature}, 4, 16);
    EXPECT_EQ(sampler.sample(logits), 1);
  }
}

TEST(Sampler, PenaltiesActBeforeTheGreedyChoice) {
  SamplerOptions options = {.temperature = 0.0f, .repeat_penalty = 2.0f};
  Sampler repeat(options, 3, 16);
  repeat.accept(0);
  EXPECT_EQ(repeat.sample(std::vector<float>{3.0f, 1.6f, 1.4f}), 1);  // 3 / 2 = 1.5
  EXPECT_EQ(repeat.sample(std::vector<float>{3.0f, 1.4f, 1.4f}), 0);
  EXPECT_EQ(repeat.sample(std::vector<float>{-1.0f, -1.9f, -3.0f}), 1);  // -1 × 2 = -2
  EXPECT_EQ(repeat.sample(std::vector<float>{-1.0f, -2.1f, -3.0f}), 0);

  options = {.temperature = 0.0f, .presence_penalty = 1.0f};
  Sampler presence(options, 2, 16);
  presence.accept(0);
  presence.accept(0);
  EXPECT_EQ(presence.sample(std::vector<float>{3.0f, 1.9f}), 0);  // 3 - 1, however often
  EXPECT_EQ(presence.sample(std::vector<float>{3.0f, 2.1f}), 1);

  options = {.temperature = 0.0f, .frequency_penalty = 1.0f};
  Sampler frequency(options, 2, 16);
  frequency.accept(0);
  frequency.accept(0);
  EXPECT_EQ(frequency.sample(std::vector<float>{3.0f, 1.1f}), 1);  // 3 - 2 × 1
  EXPECT_EQ(frequency.sample(std::vector<float>{3.0f, 0.9f}), 0);
}

TEST(Sampler, OnlyTheLastTokensArePenalized) {
  const std::vector<float> logits = {3.0f, 2.0f, 0.0f};
  const SamplerOptions two = {.temperature = 0.0f, .repeat_last_n = 2, .presence_penalty = 2.0f};
  Sampler sampler(two, 3, 16);
  sampler.accept(0);
  EXPECT_EQ(sampler.sample(logits), 1);
  sampler.accept(2);
  EXPECT_EQ(sampler.sample(logits), 1);
  sampler.accept(2);  // 0 is forgotten
  EXPECT_EQ(sampler.sample(logits), 0);

  SamplerOptions none = two;
  none.repeat_last_n = 0;
  Sampler forgetful(none, 3, 16);
  forgetful.accept(0);
  EXPECT_EQ(forgetful.sample(logits), 0);

  SamplerOptions all = two;
  all.repeat_last_n = -1;
  Sampler whole_context(all, 3, 3);
  whole_context.accept(0);
  whole_context.accept(2);
  whole_context.accept(2);
  EXPECT_EQ(whole_context.sample(logits), 1);
  whole_context.accept(2);
  EXPECT_EQ(whole_context.sample(logits), 0);
}

TEST(Sampler, TopKKeepsTheBest) {
  SamplerOptions options = plain_draw();
  const auto logits = log_of({0.1, 0.4, 0.2, 0.3});
  options.top_k = 2;
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{1, 3}));
  options.top_k = 1;
  EXPECT_EQ(drawn(options, logits), std::set<TokenId>{1});
  options.top_k = 100;
  EXPECT_EQ(drawn(options, logits).size(), 4u);
  options.top_k = 2;
  EXPECT_EQ(drawn(options, {1.0f, 1.0f, 1.0f, 1.0f}), (std::set<TokenId>{0, 1}));
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  SamplerOptions options = plain_draw();
  const auto logits = log_of({0.1, 0.4, 0.2, 0.3});
  options.top_p = 0.69f;  // 0.4 + 0.3 reaches it
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{1, 3}));
  options.top_p = 0.71f;
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{1, 2, 3}));
  options.top_p = 0.0f;
  EXPECT_EQ(drawn(options, logits), std::set<TokenId>{1});
  // After top-k the probabilities are those among the kept: 0.4 / 0.7 and 0.3 / 0.7.
  options.top_k = 2;
  options.top_p = 0.56f;
  EXPECT_EQ(drawn(options, logits), std::set<TokenId>{1});
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  SamplerOptions options = plain_draw();
  const auto logits = log_of({0.1, 0.4, 0.2, 0.3});
  options.min_p = 0.45f;  // at least 0.18
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{1, 2, 3}));
  options.min_p = 0.55f;  // at least 0.22
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{1, 3}));
  options.min_p = 1.0f;
  EXPECT_EQ(drawn(options, logits), std::set<TokenId>{1});
}

TEST(Sampler, TemperatureActsAfterTheCuts) {
  // At temperature 100 all are nearly as likely; top-p at temperature 1 would still drop token 0.
  SamplerOptions options = plain_draw();
  options.temperature = 100.0f;
  options.top_p = 0.85f;
  EXPECT_EQ(drawn(options, log_of({0.1, 0.4, 0.2, 0.3})), (std::set<TokenId>{1, 2, 3}));
}

// Pearson's statistic of n draws over k outcomes is about chi-square with k - 1 degrees of freedom.
// For k = 4 it exceeds 16.3 with probability 0.001; the seed is fixed, so the test does not flake.
double chi_square(const SamplerOptions& options, const std::vector<float>& logits,
                  const std::array<double, 4>& expected) {
  constexpr int kDraws = 20'000;
  Sampler sampler(options, 4, 16);
  std::array<int, 4> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<std::size_t>(sampler.sample(logits))];
  double statistic = 0.0;
  for (std::size_t i = 0; i < 4; ++i) {
    const double mean = kDraws * expected[i];
    statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  return statistic;
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const auto logits = log_of({0.1, 0.4, 0.2, 0.3});
  EXPECT_LT(chi_square(plain_draw(7), logits, {0.1, 0.4, 0.2, 0.3}), 16.3);
  // Temperature 0.5 squares the probabilities: 1, 16, 4, 9 of 30.
  SamplerOptions cooler = plain_draw(8);
  cooler.temperature = 0.5f;
  EXPECT_LT(chi_square(cooler, logits, {1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0}), 16.3);
  // The statistic does see a wrong distribution.
  EXPECT_GT(chi_square(plain_draw(7), logits, {0.12, 0.38, 0.2, 0.3}), 16.3);
}

TEST(Sampler, ASeedFixesTheSequence) {
  const auto logits = log_of({0.1, 0.4, 0.2, 0.3});
  Sampler sampler(plain_draw(42), 4, 16), again(plain_draw(42), 4, 16),
      other(plain_draw(43), 4, 16);
  int different = 0;
  for (int i = 0; i < 100; ++i) {
    const TokenId token = sampler.sample(logits);
    EXPECT_EQ(token, again.sample(logits));
    if (token != other.sample(logits)) ++different;
  }
  EXPECT_GT(different, 0);
  EXPECT_EQ(sampler.seed(), 42u);
  // The state travels with a move.
  Sampler moved = std::move(sampler);
  EXPECT_EQ(moved.sample(logits), again.sample(logits));
}

TEST(Sampler, EverySeedFixesTheSequence) {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{0xffffffff}, ~std::uint64_t{0}})
    EXPECT_EQ(Sampler(plain_draw(seed), 4, 16).seed(), seed);
}

TEST(Sampler, ARandomSeedIsReportedAndRepeatable) {
  SamplerOptions options = plain_draw();
  options.seed.reset();
  const auto logits = log_of({0.1, 0.4, 0.2, 0.3});
  Sampler sampler(options, 4, 16);
  Sampler again(plain_draw(sampler.seed()), 4, 16);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(sampler.sample(logits), again.sample(logits));
}

}  // namespace
}  // namespace hearth::runtime
