// Handles of the C API that close themselves, for tests.
#pragma once

#include <gtest/gtest.h>
#include <hearth/hearth.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::testing {

inline const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
// With recurrent layers.
inline const std::string kRecurrentModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3next.gguf";

struct Close {
  void operator()(hearth_engine* engine) const {
    EXPECT_EQ(hearth_engine_close(engine), HEARTH_OK);
  }
  void operator()(hearth_session* session) const {
    EXPECT_EQ(hearth_session_close(session), HEARTH_OK);
  }
  void operator()(hearth_profile* profile) const {
    EXPECT_EQ(hearth_profile_close(profile), HEARTH_OK);
  }
  void operator()(hearth_plan* plan) const { EXPECT_EQ(hearth_plan_close(plan), HEARTH_OK); }
};
template <typename T>
using Handle = std::unique_ptr<T, Close>;

// Small: a test opens many.
inline hearth_engine_options small_options() {
  hearth_engine_options options{};
  options.size = sizeof options;
  options.expert_ram = 8u << 20;
  options.context = 256;
  options.batch = 32;
  options.threads = 2;
  return options;
}

inline Handle<hearth_engine> open_engine(const std::string& path,
                                         const hearth_engine_options& options) {
  hearth_engine* engine = nullptr;
  EXPECT_EQ(hearth_engine_open(path.c_str(), &options, &engine), HEARTH_OK) << hearth_message();
  return Handle<hearth_engine>(engine);
}

inline Handle<hearth_engine> open_engine() { return open_engine(kModel, small_options()); }

inline Handle<hearth_session> open_session(const Handle<hearth_engine>& engine) {
  hearth_session* session = nullptr;
  EXPECT_EQ(hearth_session_open(engine.get(), &session), HEARTH_OK) << hearth_message();
  return Handle<hearth_session>(session);
}

inline std::vector<std::int32_t> numbers(std::size_t count, std::int32_t first = 300) {
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < count; ++i) tokens.push_back(first + static_cast<std::int32_t>(i));
  return tokens;
}

inline hearth_status evaluate(const Handle<hearth_session>& session,
                              const std::vector<std::int32_t>& tokens) {
  return hearth_session_evaluate(session.get(), tokens.data(), tokens.size(), nullptr);
}

inline std::vector<std::int32_t> timeline(const Handle<hearth_session>& session) {
  const std::int32_t* tokens = nullptr;
  std::size_t count = 0;
  EXPECT_EQ(hearth_session_tokens(session.get(), &tokens, &count), HEARTH_OK);
  return {tokens, tokens + count};
}

template <typename T>
T sized() {
  T made{};
  made.size = sizeof made;
  return made;
}

inline hearth_engine_facts facts_of(const Handle<hearth_engine>& engine) {
  auto facts = sized<hearth_engine_facts>();
  EXPECT_EQ(hearth_engine_facts_of(engine.get(), &facts), HEARTH_OK);
  return facts;
}

// The logits after all of these tokens, in a session of their own.
inline std::vector<float> logits_after(const Handle<hearth_engine>& engine,
                                       const std::vector<std::int32_t>& tokens) {
  const auto session = open_session(engine);
  const float* logits = nullptr;
  EXPECT_EQ(hearth_session_evaluate(session.get(), tokens.data(), tokens.size(), &logits),
            HEARTH_OK);
  return {logits, logits + facts_of(engine).vocabulary};
}

// Most likely tokens after a prompt.
inline std::vector<std::int32_t> generate(const Handle<hearth_session>& session,
                                          std::uint32_t most) {
  auto generation = sized<hearth_generation>();
  generation.most_tokens = most;
  generation.ignore_end = 1;
  std::vector<std::int32_t> tokens;
  const auto keep = [](void* user, std::int32_t token, const char*, std::size_t) {
    static_cast<std::vector<std::int32_t>*>(user)->push_back(token);
    return 0;
  };
  EXPECT_EQ(hearth_session_generate(session.get(), &generation, keep, &tokens, nullptr), HEARTH_OK)
      << hearth_message();
  return tokens;
}

}  // namespace hearth::testing
