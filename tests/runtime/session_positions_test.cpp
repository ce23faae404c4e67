// A session that goes back, and one that begins behind positions nobody computed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"

namespace hearth::testing {
namespace {

using kernels::KvFormat;
using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;

EngineOptions options_of(KvFormat keys, KvFormat values, std::uint32_t batch) {
  EngineOptions options{.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                        .budget = {.expert_share = 1.0},
                        .context = 400,
                        .batch = batch,
                        .threads = 2,
                        .key_format = keys,
                        .value_format = values};
  if (kernels::traits(keys).quantized() || kernels::traits(values).quantized())
    options.kv_tail = 20;
  return options;
}

std::vector<TokenId> tokens_from(TokenId first, std::size_t count) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>((first + 13 * i) % 150));
  return tokens;
}

std::uint64_t hash_of(Session& session, std::span<const TokenId> tokens) {
  runtime::LogitsHash hash;
  session.evaluate(tokens, 0,
                   [&](std::uint32_t, std::span<const float> logits) { hash.add(logits); });
  return hash.value();
}

TEST(Session, GoesBackAsIfWhatCameAfterHadNotBeen) {
  for (const kernels::KvFormatTraits& format : kernels::kKvFormats) {
    SCOPED_TRACE(format.name);
    Engine engine(options_of(format.format, format.format, 48));
    Session straight(engine), turning(engine);
    // The detours of formats with a sink encode a tile that the rest has to replace.
    const std::uint32_t before = format.sink() > 0 ? 270 : 150;
    const std::vector<TokenId> begin = tokens_from(1, before), rest = tokens_from(5, 70);
    straight.evaluate(begin);
    const std::uint64_t expected = hash_of(straight, rest);
    turning.evaluate(begin);
    for (const std::uint32_t detour : {1u, 31u, turning.most_rewind()}) {
      turning.evaluate(tokens_from(77, detour));
      turning.rewind(before);
    }
    EXPECT_EQ(turning.position(), before);
    EXPECT_EQ(hash_of(turning, rest), expected);
  }
}

TEST(Session, BeginsBehindRandomPositions) {
  const std::vector<TokenId> tokens = tokens_from(3, 20);
  for (const auto& [keys, values] :
       {std::pair{KvFormat::kF16, KvFormat::kF16}, std::pair{KvFormat::kQ8_0, KvFormat::kQ4_1}}) {
    std::vector<std::uint64_t> answers;
    for (const std::uint32_t batch : {1u, 33u, 128u}) {
      Engine engine(options_of(keys, values, batch));
      Session session(engine);
      session.evaluate(tokens);
      session.fill_at_random(140, 7);
      EXPECT_EQ(session.position(), 140u);
      answers.push_back(hash_of(session, tokens));
      session.fill_at_random(140, 8);
      EXPECT_NE(hash_of(session, tokens), answers.back()) << "the seed counts";
      EXPECT_THROW(session.fill_at_random(401, 1), Error);
    }
    EXPECT_EQ(answers[0], answers[1]);
    EXPECT_EQ(answers[0], answers[2]);
  }
}

}  // namespace
}  // namespace hearth::testing
