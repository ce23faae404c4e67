// A session that went back answers as one that was never there, in every format of the KV cache.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;

constexpr std::uint32_t kTail = 32, kBatch = 16;

EngineOptions options_with(KvFormat keys, KvFormat values, std::uint32_t batch = kBatch,
                           std::uint32_t tail = kTail) {
  EngineOptions options{.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                        .budget = {.expert_share = 1.0},
                        .context = 320,
                        .batch = batch,
                        .threads = 1,
                        .key_format = keys,
                        .value_format = values};
  if (kernels::traits(keys).quantized() || kernels::traits(values).quantized())
    options.kv_tail = tail;
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

// With the shortest ring of recent rows for its batch, so that what is overwritten is missed.
class RewindsInAShortRing : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kLongBatch = 64;
  // Where the session says that it can go back, what follows is that of a fresh session.
  void expect_a_true_way_back(Session& session, std::uint32_t to) {
    if (!session.can_rewind(to)) return;
    session.rewind(to);
    Session fresh(engine);
    fresh.evaluate(std::span(before).first(to));
    EXPECT_EQ(answer_of(session, after), answer_of(fresh, after)) << "back to " << to;
  }

  Engine engine{options_with(KvFormat::kQ8_0, KvFormat::kQ8_0, kLongBatch, 0)};
  const std::vector<TokenId> before = random_tokens(250, 1), after = random_tokens(20, 2);
};

TEST_F(RewindsInAShortRing, WaysBackAddUp) {
  for (const std::uint32_t second : {185u, 150u, 122u, 90u}) {
    Session session(engine);
    session.evaluate(before);
    ASSERT_TRUE(session.can_rewind(250 - kLongBatch));
    session.rewind(250 - kLongBatch);
    expect_a_true_way_back(session, second);
  }
}

TEST_F(RewindsInAShortRing, AStepThatFailedHasOverwrittenRows) {
  for (const std::uint32_t back : {1u, 30u, kLongBatch}) {
    Session session(engine);
    bool fails = false;
    session.on_routed([&](const profiler::Routing& routing) {
      if (fails && routing.layer == 2) throw_error(ErrorCode::kIo, "as wanted");
    });
    session.evaluate(std::span(before).first(222));
    fails = true;
    EXPECT_THROW(session.evaluate(random_tokens(kLongBatch, 3)), hearth::Error);
    fails = false;
    expect_a_true_way_back(session, 222 - back);
  }
}

TEST_F(RewindsInAShortRing, ASessionThatWasLoadedHasTheNewestRowsAlone) {
  Session saved(engine);
  saved.evaluate(before);
  std::vector<std::byte> state;
  saved.save_state(250, [&](std::span<const std::byte> piece) {
    state.insert(state.end(), piece.begin(), piece.end());
  });
  for (const std::uint32_t to : {249u, 224u, 200u, 186u}) {
    Session session(engine);
    session.evaluate(random_tokens(200, 4));  // which goes
    session.reset();
    std::size_t at = 0;
    session.load_state(250, [&](std::span<std::byte> piece) {
      std::copy_n(state.begin() + static_cast<std::ptrdiff_t>(at), piece.size(), piece.begin());
      at += piece.size();
    });
    session.resume(250);
    EXPECT_TRUE(session.can_rewind(250));
    expect_a_true_way_back(session, to);
  }
}

}  // namespace
}  // namespace hearth::runtime
