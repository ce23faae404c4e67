#include "tools/hearth/prompt_reader.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "runtime/logits_hash.h"

namespace hearth::tools {
namespace {

constexpr std::uint32_t kBatch = 8;
constexpr std::size_t kTokens = 5 * kBatch + 3;

std::vector<TokenId> random_tokens() {
  Random random(5);
  std::vector<TokenId> tokens(kTokens);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(157));
  return tokens;
}

std::uint64_t hash_of(std::span<const float> logits) {
  runtime::LogitsHash hash;
  hash.add(logits);
  return hash.value();
}

class PromptReading : public ::testing::TestWithParam<const char*> {
 protected:
  runtime::Engine engine_{
      {.model_path = HEARTH_SOURCE_DIR "/tests/golden/" + std::string(GetParam()) + ".gguf",
       .budget = {.expert_share = 1.0},
       .context = 64,
       .batch = kBatch,
       .threads = 1}};
  const std::vector<TokenId> tokens_ = random_tokens();
};

// Wherever it is given up, whole chunks were read, and what follows them gives the bits of a prompt
// that was not: also where layers remember what cannot be overwritten.
TEST_P(PromptReading, GoesOnBehindWhatWasRead) {
  runtime::Session session(engine_);
  const std::uint64_t expected = hash_of(session.evaluate(tokens_));
  session.reset();
  PromptReader reader(engine_, session);
  std::uint32_t asked = 0;
  const auto read = [&](std::uint32_t most) {
    asked = 0;
    return reader.read(std::span(tokens_).subspan(session.position()),
                       [&] { return ++asked > most; });
  };
  std::uint32_t stops = 0;
  for (;; ++stops) {
    session.reset();
    if (!read(stops).empty()) break;
    ASSERT_FALSE(session.torn());
    EXPECT_EQ(session.position() % kBatch, 0u);
    EXPECT_LT(session.position(), kTokens);
    const auto logits = read(1000);
    ASSERT_FALSE(logits.empty());
    EXPECT_EQ(hash_of(logits), expected) << "stopped when asked " << stops + 1 << " times";
  }
  const bool recurrent = session.most_rewind() == 0;
  const std::uint32_t between_chunks = kTokens / kBatch;
  EXPECT_EQ(stops, recurrent ? between_chunks
                             : between_chunks + engine_.config().layers * (between_chunks + 1));
}

TEST_P(PromptReading, AsksNobodyWhileNothingIsRead) {
  runtime::Session session(engine_);
  PromptReader reader(engine_, session);
  bool stops = false;
  ASSERT_FALSE(reader.read(std::span(tokens_).first(3), [&] { return stops; }).empty());
  stops = true;
  session.evaluate(std::span(tokens_).subspan(3));
  EXPECT_EQ(session.position(), kTokens);
}

INSTANTIATE_TEST_SUITE_P(Models, PromptReading, ::testing::Values("qwen3moe", "qwen35moe"),
                         [](const auto& model) { return std::string(model.param); });

}  // namespace
}  // namespace hearth::tools
