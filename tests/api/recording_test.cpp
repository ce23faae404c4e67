// What another program routes becomes the profile that Hearth records itself, and nothing that it
// says wrongly is counted.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hearth/recording.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "profiler/profile_toml.h"
#include "tests/runtime/support/counted_run.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";

struct Recording {
  Recording() { EXPECT_EQ(hearth_recording_begin(kModel.c_str(), "prose", &handle), HEARTH_OK); }
  ~Recording() { EXPECT_EQ(hearth_recording_close(handle), HEARTH_OK); }
  std::uint64_t tokens() const {
    std::uint64_t tokens = 0;
    EXPECT_EQ(hearth_recording_tokens(handle, &tokens), HEARTH_OK);
    return tokens;
  }
  hearth_recording* handle = nullptr;
};

std::string temporary_profile() {
  return (fs::temp_directory_path() / fmt::format("recording_test.{}.toml", getpid())).string();
}

// The golden model has layers 0 to 2 of 16 experts, of which a token uses 4.
constexpr std::int32_t kExperts[] = {3, 0, 15, 7};
hearth_choice choice_of(std::uint32_t layer) {
  return {.size = sizeof(hearth_choice),
          .layer = layer,
          .position = 0,
          .tokens = 1,
          .experts_used = 4,
          .experts = kExperts};
}

TEST(Recording, IsTheProfileThatHearthCountsItself) {
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < 40; ++i) tokens.push_back((i * 37) % 150);
  Recording recording;
  const profiler::ExpertProfile own =
      testing::counted_run(kModel, tokens, 32, "prose", [&](const profiler::Routing& routing) {
        const std::vector<std::int32_t> experts(routing.experts.begin(), routing.experts.end());
        const hearth_choice choice = {.size = sizeof choice,
                                      .layer = routing.layer,
                                      .position = routing.position,
                                      .tokens = routing.rows,
                                      .experts_used = routing.experts_per_row,
                                      .experts = experts.data()};
        EXPECT_EQ(hearth_recording_observe(recording.handle, &choice), HEARTH_OK)
            << hearth_message();
      });
  EXPECT_EQ(recording.tokens(), 40u);
  const std::string path = temporary_profile();
  ASSERT_EQ(hearth_recording_save(recording.handle, path.c_str()), HEARTH_OK) << hearth_message();
  EXPECT_EQ(profiler::load_profile(path), own);
  fs::remove(path);
}

TEST(Recording, LayersComeInOrderAndWhole) {
  Recording recording;
  const auto observe = [&](hearth_choice choice) {
    return hearth_recording_observe(recording.handle, &choice);
  };
  EXPECT_EQ(observe(choice_of(1)), HEARTH_ERROR_STATE);
  EXPECT_EQ(observe(choice_of(0)), HEARTH_OK);
  EXPECT_EQ(observe(choice_of(0)), HEARTH_ERROR_STATE);
  EXPECT_NE(std::string(hearth_message()).find("1 comes next"), std::string::npos)
      << hearth_message();
  EXPECT_EQ(observe(choice_of(7)), HEARTH_ERROR_STATE);
  hearth_choice elsewhere = choice_of(1);
  elsewhere.position = 5;
  EXPECT_EQ(observe(elsewhere), HEARTH_ERROR_STATE);
  EXPECT_EQ(hearth_recording_save(recording.handle, temporary_profile().c_str()),
            HEARTH_ERROR_STATE);
  EXPECT_EQ(recording.tokens(), 0u);
  EXPECT_EQ(observe(choice_of(1)), HEARTH_OK);
  EXPECT_EQ(observe(choice_of(2)), HEARTH_OK);
  EXPECT_EQ(recording.tokens(), 1u);
}

TEST(Recording, WhatIsOutOfRangeIsNotCounted) {
  Recording recording;
  const auto refused = [&](auto change) {
    hearth_choice choice = choice_of(0);
    change(choice);
    return hearth_recording_observe(recording.handle, &choice);
  };
  static constexpr std::int32_t kTooLarge[] = {1, 2, 3, 16};
  static constexpr std::int32_t kNegative[] = {1, 2, -1, 3};
  EXPECT_EQ(refused([](hearth_choice& c) { c.experts = kTooLarge; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice& c) { c.experts = kNegative; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice& c) { c.experts = nullptr; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice& c) { c.experts_used = 3; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice& c) { c.tokens = 0; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice& c) { c.tokens = 1u << 31; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice& c) { c.size = 4; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(refused([](hearth_choice&) {}), HEARTH_OK);  // the step has not begun before
}

TEST(Recording, ArgumentsAreChecked) {
  hearth_recording* handle = nullptr;
  EXPECT_EQ(hearth_recording_begin(nullptr, "prose", &handle), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_begin(kModel.c_str(), nullptr, &handle), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_begin(kModel.c_str(), "", &handle), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_begin(kModel.c_str(), "two\nlines", &handle), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_begin(kModel.c_str(), "prose", nullptr), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_begin("/nonexistent.gguf", "prose", &handle), HEARTH_ERROR_NOT_FOUND);
  EXPECT_EQ(hearth_recording_begin(HEARTH_SOURCE_DIR "/README.md", "prose", &handle),
            HEARTH_ERROR_BAD_FILE);
  EXPECT_EQ(handle, nullptr);
  std::uint64_t tokens = 0;
  const hearth_choice choice = choice_of(0);
  EXPECT_EQ(hearth_recording_observe(nullptr, &choice), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_tokens(nullptr, &tokens), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_save(nullptr, "x"), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_close(nullptr), HEARTH_OK);
  Recording recording;
  EXPECT_EQ(hearth_recording_observe(recording.handle, nullptr), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_tokens(recording.handle, nullptr), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_save(recording.handle, nullptr), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_recording_save(recording.handle, "/proc/nothing/x"), HEARTH_ERROR_IO);
}

}  // namespace
}  // namespace hearth
