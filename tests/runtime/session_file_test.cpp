// A session goes on from a file as if it had never stopped; a file that is damaged, or of another
// model, is refused with one line.
#include "runtime/session_file.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "runtime/sampler/sampler.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;
using runtime::Timeline;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

EngineOptions options_for(kernels::KvFormat keys, kernels::KvFormat values) {
  return {.model_path = kModel,
          .budget = {.expert_share = 0.5},
          .context = 256,
          .batch = 64,
          .threads = 2,
          .key_format = keys,
          .value_format = values,
          .kv_tail = 40};
}

EngineOptions plain() { return options_for(kernels::KvFormat::kF16, kernels::KvFormat::kF16); }

std::vector<TokenId> made_up_prompt(std::size_t tokens) {
  std::vector<TokenId> prompt(tokens);
  std::iota(prompt.begin(), prompt.end(), 300);
  return prompt;
}

// Draws `count` tokens after the timeline, and keeps it.
std::vector<TokenId> go_on(Session& session, Timeline& timeline, runtime::Sampler& sampler,
                           std::size_t count) {
  std::vector<TokenId> drawn;
  while (drawn.size() < count) {
    const TokenId token = sampler.sample(timeline.logits);
    drawn.push_back(token);
    timeline.tokens.push_back(token);
    const std::span<const float> logits = session.evaluate({&token, 1});
    timeline.logits.assign(logits.begin(), logits.end());
  }
  timeline.random = sampler.random_state();
  return drawn;
}

Timeline started(Session& session, std::size_t tokens) {
  Timeline timeline{.tokens = made_up_prompt(tokens)};
  const std::span<const float> logits = session.evaluate(timeline.tokens);
  timeline.logits.assign(logits.begin(), logits.end());
  return timeline;
}

runtime::Sampler sampler_for(const Engine& engine) {
  return {{.seed = 7, .temperature = 1.5f, .top_k = 0, .top_p = 1, .min_p = 0},
          engine.config().vocabulary,
          engine.plan().context};
}

class SavedSession : public ::testing::TestWithParam<std::array<kernels::KvFormat, 2>> {};

TEST_P(SavedSession, GoesOnBitForBit) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("a.session");
  const EngineOptions options = options_for(GetParam()[0], GetParam()[1]);
  // A timeline within the first tile, at the end of one, and beyond the f16 tail.
  for (const std::size_t length : {5u, 63u, 150u}) {
    SCOPED_TRACE(length);
    Engine engine(options);
    Session session(engine);
    runtime::Sampler sampler = sampler_for(engine);
    Timeline timeline = started(session, length);
    go_on(session, timeline, sampler, 1);
    save_session(path, engine, session, timeline);
    const std::vector<TokenId> expected = go_on(session, timeline, sampler, 16);

    EngineOptions others = options;  // what a plan may change between two runs
    others.batch = 16;
    others.context = 224;
    others.threads = 1;
    Engine other_engine(others);
    Session other(other_engine);
    Timeline resumed = load_session(path, other_engine, other);
    EXPECT_EQ(other.position(), length + 1);
    runtime::Sampler other_sampler = sampler_for(other_engine);
    other_sampler.resume(resumed.random);
    EXPECT_EQ(go_on(other, resumed, other_sampler, 16), expected);
    EXPECT_EQ(resumed.tokens, timeline.tokens);
    EXPECT_EQ(resumed.logits, timeline.logits);
  }
}

using kernels::KvFormat;
INSTANTIATE_TEST_SUITE_P(Formats, SavedSession,
                         ::testing::Values(std::array{KvFormat::kF16, KvFormat::kF16},
                                           std::array{KvFormat::kQ8_0, KvFormat::kQ4_0},
                                           std::array{KvFormat::kF16, KvFormat::kQ8_0}),
                         [](const auto& parameter) {
                           return fmt::format("{}_{}", kernels::traits(parameter.param[0]).name,
                                              kernels::traits(parameter.param[1]).name);
                         });

std::vector<bool> resident(const Engine& engine) {
  const ExpertSpace space = engine.experts().catalog().space();
  std::vector<bool> result;
  for (std::uint32_t i = 0; i < space.size(); ++i)
    result.push_back(engine.experts().state(space.id(i)) == profiler::ExpertState::kReady);
  return result;
}

TEST(SessionFile, BringsItsExpertsBack) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("a.session");
  Engine engine(plain());
  Session session(engine);
  const Timeline timeline = started(session, 100);
  engine.experts().settle();
  save_session(path, engine, session, timeline);

  Engine other(plain());
  Session resumed(other);
  load_session(path, other, resumed);
  EXPECT_EQ(resident(other), resident(engine));
  // With fewer slots every size class is filled.
  EngineOptions tight = plain();
  tight.budget = {.expert_share = 0.25};
  Engine small(tight);
  Session in_small(small);
  load_session(path, small, in_small);
  const std::vector<bool> here = resident(small);
  EXPECT_EQ(std::count(here.begin(), here.end(), true), small.plan().ram.slots());
}

class SessionFileDamage : public ::testing::Test {
 protected:
  SessionFileDamage() : engine_(plain()), session_(engine_) {
    Session first(engine_);
    const Timeline timeline = started(first, 20);
    save_session(path_, engine_, first, timeline);
    bytes_ = read_text(path_);
  }

  // The line of the error that loading such bytes ends with.
  std::string error_of(const std::string& bytes, ErrorCode code) {
    directory_.write("b.session", std::as_bytes(std::span(bytes)));
    try {
      load_session(directory_.file("b.session"), engine_, session_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_EQ(session_.position(), 0u);
      return error.what();
    }
    ADD_FAILURE() << "a damaged session was resumed";
    session_.reset();
    return {};
  }

  const io::TemporaryDirectory directory_;
  const std::string path_ = directory_.file("a.session");
  Engine engine_;
  Session session_;
  std::string bytes_;
};

TEST_F(SessionFileDamage, CutOffAnywhereIsRefused) {
  for (std::size_t size = 0; size < bytes_.size(); size += 1 + size * 7 / 16)
    EXPECT_NE(error_of(bytes_.substr(0, size), ErrorCode::kBadFile), "");
  EXPECT_NE(error_of(bytes_ + "x", ErrorCode::kBadFile).find("after its end"), std::string::npos);
}

TEST_F(SessionFileDamage, AChangedByteOfAnyPartIsRefused) {
  const std::size_t header = bytes_.find("state_bytes");
  ASSERT_NE(header, std::string::npos);
  for (std::size_t at = header + 100; at < bytes_.size(); at += bytes_.size() / 37) {
    std::string damaged = bytes_;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    EXPECT_NE(error_of(damaged, ErrorCode::kBadFile).find("damaged"), std::string::npos) << at;
  }
}

TEST_F(SessionFileDamage, OtherKindsAreToldApart) {
  std::string other = bytes_;
  other[0] = 'X';
  EXPECT_NE(error_of(other, ErrorCode::kBadFile).find("is not a session"), std::string::npos);
  other = bytes_;
  other[8] = 9;
  EXPECT_NE(error_of(other, ErrorCode::kUnsupported).find("version 9"), std::string::npos);
  other = bytes_;
  other.replace(other.find("keys = \"f16\""), 12, "keys = \"q80\"");
  EXPECT_NE(error_of(other, ErrorCode::kBadInput).find("keys in q80"), std::string::npos);
}

TEST_F(SessionFileDamage, AnotherModelOrAShorterContextIsRefused) {
  const auto error_on = [&](const EngineOptions& options) -> std::string {
    Engine engine(options);
    Session session(engine);
    try {
      load_session(path_, engine, session);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadInput);
      return error.what();
    }
    ADD_FAILURE();
    return {};
  };
  EngineOptions other = plain();
  other.context = 16;
  other.kv_tail = 0;
  EXPECT_NE(error_on(other).find("--ctx-size"), std::string::npos);
  other.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
  EXPECT_NE(error_on(other).find("remove this one"), std::string::npos);
}

TEST_F(SessionFileDamage, AMissingFileIsNotFound) {
  try {
    load_session(directory_.file("none"), engine_, session_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

}  // namespace
}  // namespace hearth::testing
