// A session that went back answers as one that was never there, in every format of the KV cache.
#include <gtest/gtest.h>

#include "base/random.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;

constexpr std::uint32_t kTail = 32, kBatch = 16;

EngineOptions options_with(KvFormat keys, KvFormat values) {
  EngineOptions options{.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                        .budget = {.expert_share = 1.0},
                        .context = 320,
                        .batch = kBatch,
                        .threads = 1,
                        .key_format = keys,
                        .value_format = values};
  if (kernels::traits(keys).quantized() || kernels::traits(values).quantized())
    options.kv_tail = kTail;
  return options;
}

std::vector<TokenId> random_tokens(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(150));
  return tokens;
}

std::uint64_t answer_of(Session& session, std::span<const TokenId> tokens) {
  LogitsHash hash;
  session.evaluate(tokens, 0,
                   [&](std::uint32_t, std::span<const float> logits) { hash.add(logits); });
  return hash.value();
}

TEST(SessionRewind, TheAnswerIsThatOfAFreshSession) {
  const auto before = random_tokens(250, 1), after = random_tokens(40, 2);
  for (const auto& [keys, values] :
       {std::pair(KvFormat::kF16, KvFormat::kF16), std::pair(KvFormat::kQ8_0, KvFormat::kQ8_0),
        std::pair(KvFormat::kF16, KvFormat::kQ4_0)}) {
    Engine engine(options_with(keys, values));
    const bool quantized = engine.kv_formats().quantized();
    for (const std::uint32_t to : {0u, 1u, 31u, 100u, 195u, 224u, 240u, 249u, 250u}) {
      Session session(engine);
      session.evaluate(before);
      if (!session.can_rewind(to)) {
        EXPECT_TRUE(quantized) << to;
        EXPECT_LT(to + session.most_rewind(), before.size());
        continue;
      }
      session.rewind(to);
      EXPECT_EQ(session.position(), to);
      Session fresh(engine);
      if (to > 0) fresh.evaluate(std::span(before).first(to));
      EXPECT_EQ(answer_of(session, after), answer_of(fresh, after))
          << "from 250 to " << to << " with keys " << kernels::traits(keys).name;
    }
  }
}

}  // namespace
}  // namespace hearth::runtime
