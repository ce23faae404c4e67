#include "runtime/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace hearth::runtime {
namespace {

Engine tiny_engine() {
  return Engine({.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                 .budget = {.expert_share = 1.0},
                 .context = 32,
                 .threads = 1});
}

std::vector<TokenId> random_tokens(std::size_t count) {
  Random random(7);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(150));
  return tokens;
}

constexpr auto go_on = [](std::uint32_t, const PerplexityEstimate&) { return true; };

TEST(PerplexityEstimate, IsTheExponentialOfTheMean) {
  PerplexityEstimate estimate;
  for (const double value : {1.0, 2.0, 6.0}) estimate.add(value);
  EXPECT_EQ(estimate.tokens(), 3u);
  EXPECT_DOUBLE_EQ(estimate.value(), std::exp(3.0));
  // Mean of squares 41/3, so the variance is 14/3; its root over n - 1 = 2, times the value.
  EXPECT_NEAR(estimate.standard_error(), std::sqrt(14.0 / 3 / 2) * std::exp(3.0), 1e-9);
}

TEST(PerplexityEstimate, HasNoErrorForOneTokenOrEqualOnes) {
  PerplexityEstimate estimate;
  estimate.add(0.7);
  EXPECT_EQ(estimate.standard_error(), 0);
  estimate.add(0.7);
  EXPECT_NEAR(estimate.standard_error(), 0, 1e-7);
}

TEST(NegativeLogLikelihood, IsExactForLargeLogits) {
  const std::vector<float> equal(64, 5000.0f);
  EXPECT_NEAR(negative_log_likelihood(equal, 3), std::log(64.0), 1e-12);
  std::vector<float> certain(64, -5000.0f);
  certain[3] = 5000.0f;
  EXPECT_EQ(negative_log_likelihood(certain, 3), 0);
  EXPECT_EQ(negative_log_likelihood(certain, 4), 10000);
}

TEST(Perplexity, ScoresTheSecondHalfOfEachChunk) {
  Engine engine = tiny_engine();
  Session session(engine);
  const std::vector<TokenId> tokens = random_tokens(3 * 16 + 5);
  std::vector<double> seen;
  const PerplexityEstimate estimate =
      perplexity(session, tokens, {.context = 16}, [&](std::uint32_t, const auto& so_far) {
        seen.push_back(so_far.value());
        return true;
      });
  ASSERT_EQ(seen.size(), 3u);  // the 5 tokens that fill no chunk are left out
  EXPECT_EQ(seen.back(), estimate.value());

  PerplexityEstimate expected;
  for (std::size_t chunk = 0; chunk < 3; ++chunk) {
    const auto part = std::span(tokens).subspan(chunk * 16, 16);
    session.reset();
    for (std::size_t i = 0; i + 1 < part.size(); ++i) {
      const auto logits = session.evaluate(part.subspan(i, 1));
      if (i >= 8) expected.add(negative_log_likelihood(logits, part[i + 1]));
    }
    EXPECT_EQ(seen[chunk], expected.value());
  }
  EXPECT_EQ(estimate.tokens(), 3u * 7);
}

TEST(Perplexity, PutsBosInPlaceOfTheFirstTokenOfAChunk) {
  Engine engine = tiny_engine();
  Session session(engine);
  std::vector<TokenId> tokens = random_tokens(32);
  const double with_bos = perplexity(session, tokens, {.context = 16, .bos = 5}, go_on).value();
  EXPECT_NE(with_bos, perplexity(session, tokens, {.context = 16}, go_on).value());
  tokens[0] = tokens[16] = 5;
  EXPECT_EQ(with_bos, perplexity(session, tokens, {.context = 16}, go_on).value());
}

TEST(Perplexity, StopsAfterTheChunksAskedForOrWhenTold) {
  Engine engine = tiny_engine();
  Session session(engine);
  const std::vector<TokenId> tokens = random_tokens(64);
  EXPECT_EQ(perplexity(session, tokens, {.context = 16, .most_chunks = 2}, go_on).tokens(), 14u);
  const auto stop = [](std::uint32_t chunk, const PerplexityEstimate&) { return chunk < 2; };
  EXPECT_EQ(perplexity(session, tokens, {.context = 16}, stop).tokens(), 21u);
}

TEST(Perplexity, RefusesTextsTooShortAndChunksTooLong) {
  Engine engine = tiny_engine();
  Session session(engine);
  const auto code_of = [&](std::size_t tokens, std::uint32_t context) {
    try {
      perplexity(session, random_tokens(tokens), {.context = context}, go_on);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kNumerics;
  };
  EXPECT_EQ(code_of(31, 16), ErrorCode::kBadInput);
  EXPECT_EQ(code_of(100, 33), ErrorCode::kUsage);
  EXPECT_EQ(code_of(100, 3), ErrorCode::kUsage);
}

}  // namespace
}  // namespace hearth::runtime
