// Models with recurrent layers: what they remember depends on the tokens alone, goes with a reset,
// goes on from a file, and is never half of a step.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "runtime/session_file.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/heap_calls.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;

std::string golden(const std::string& name) {
  return HEARTH_SOURCE_DIR "/tests/golden/" + name + ".gguf";
}

EngineOptions options_of(const std::string& name) {
  return {
      .model_path = golden(name), .budget = {.expert_share = 1.0}, .context = 768, .threads = 1};
}

std::vector<TokenId> random_tokens(std::size_t count) {
  Random random(11);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(157));
  return tokens;
}

// The logits of the last quarter, where the state has seen every token before.
std::vector<float> answer(Session& session, std::span<const TokenId> tokens) {
  std::vector<float> all;
  session.evaluate(tokens, tokens.size() * 3 / 4,
                   [&](std::uint32_t, std::span<const float> logits) {
                     all.insert(all.end(), logits.begin(), logits.end());
                   });
  return all;
}

class RecurrentModel : public ::testing::TestWithParam<const char*> {};

TEST_P(RecurrentModel, GivesTheSameBitsInEveryChunkAndOnAnyThreads) {
  const std::vector<TokenId> tokens = random_tokens(600);
  Engine engine(options_of(GetParam()));
  Session session(engine);
  const std::vector<float> expected = answer(session, tokens);
  for (const std::uint32_t batch : {1u, 7u, 64u, 512u}) {
    SCOPED_TRACE(fmt::format("chunks of {}", batch));
    EngineOptions options = options_of(GetParam());
    options.batch = batch;
    options.threads = batch % 3 + 1;
    options.budget = {.expert_share = 0.6};
    Engine other(options);
    Session chunked(other);
    EXPECT_TRUE(answer(chunked, tokens) == expected);
  }
}

TEST_P(RecurrentModel, ForgetsEverythingWithAReset) {
  const std::vector<TokenId> tokens = random_tokens(80);
  Engine engine(options_of(GetParam()));
  Session session(engine);
  const std::vector<float> expected = answer(session, tokens);
  EXPECT_FALSE(answer(session, tokens) == expected) << "nothing was remembered";
  session.reset();
  EXPECT_TRUE(answer(session, tokens) == expected);
}

TEST_P(RecurrentModel, GoesOnFromAFile) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("a.session");
  const std::vector<TokenId> tokens = random_tokens(120);
  const std::span<const TokenId> first = std::span(tokens).first(45),
                                 rest = std::span(tokens).subspan(45);
  Engine engine(options_of(GetParam()));
  Session session(engine);
  runtime::Timeline timeline{.tokens = {first.begin(), first.end()}};
  const std::span<const float> logits = session.evaluate(first);
  timeline.logits.assign(logits.begin(), logits.end());
  save_session(path, engine, session, timeline);
  const std::vector<float> expected = answer(session, rest);

  Engine other(options_of(GetParam()));
  Session resumed(other);
  EXPECT_EQ(load_session(path, other, resumed).tokens, timeline.tokens);
  EXPECT_TRUE(answer(resumed, rest) == expected);
}

TEST_P(RecurrentModel, ATokenAllocatesNothing) {
  const std::vector<TokenId> tokens = random_tokens(60);
  EngineOptions options = options_of(GetParam());
  options.budget = {.expert_share = 0.6};
  Engine engine(options);
  Session session(engine);
  session.evaluate(std::span(tokens).first(40));
  const std::uint64_t before = heap_calls();
  for (std::size_t i = 40; i < 60; ++i) session.evaluate({&tokens[i], 1});
  EXPECT_EQ(heap_calls() - before, 0u);
}

INSTANTIATE_TEST_SUITE_P(Models, RecurrentModel,
                         ::testing::Values("qwen35moe", "qwen3next", "qwen3next-legacy"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(RecurrentModels, StateIsPlannedAndTaken) {
  const Engine engine(options_of("qwen35moe"));
  // Three layers: 4 heads of 16 × 16, and 3 inputs of 128 channels. A fourth attends.
  constexpr std::uint64_t kState = 3 * (4 * 16 * 16 + 3 * 128) * sizeof(float);
  EXPECT_EQ(engine.plan().ram.state, Bytes(kState));
  EXPECT_EQ(engine.config().layers, 4u);
}

TEST(RecurrentModels, BlocksOfMultiTokenPredictionAreToldOf) {
  const Engine with(options_of("qwen35moe")), without(options_of("qwen35moe-f16"));
  ASSERT_EQ(with.model().notes.size(), 1u);
  EXPECT_NE(with.model().notes[0].find("multi-token prediction"), std::string::npos);
  EXPECT_TRUE(without.model().notes.empty());
}

// Logits of a whole prompt that no reader fails, then a step that fails.
TEST(RecurrentModels, AFailedStepTearsTheStateUntilAReset) {
  const std::vector<TokenId> tokens = random_tokens(40);
  Engine engine(options_of("qwen35moe"));
  Session session(engine);
  bool fails = false;
  session.on_routed([&](const profiler::Routing& routing) {
    if (fails && routing.layer == 2) throw_error(ErrorCode::kIo, "an expert cannot be read");
  });
  const std::vector<float> expected = answer(session, tokens);
  fails = true;
  EXPECT_THROW(session.evaluate(tokens), Error);
  fails = false;
  EXPECT_FALSE(session.can_rewind(session.position()));
  EXPECT_TRUE(session.can_rewind(0));
  try {
    session.evaluate(tokens);
    FAIL() << "a torn state was used";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find("reset"), std::string::npos);
  }
  session.reset();
  EXPECT_TRUE(answer(session, tokens) == expected);
}

}  // namespace
}  // namespace hearth::testing
