// hearth profile record: what is counted, and that a recording survives being interrupted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/file_replacement.h"
#include "base/random.h"
#include "profiler/profile_toml.h"
#include "profiler/trace_file.h"
#include "tests/sanitized.h"
#include "tests/tools/support/profile_files.h"
#include "tools/hearth/recording_state.h"

namespace hearth::tools::testing {
namespace {

using profiler::ExpertProfile;
using ::testing::HasSubstr;

void expect_nothing_left(const std::string& profile) {
  EXPECT_FALSE(std::filesystem::exists(recording_path_of(profile)));
  EXPECT_FALSE(std::filesystem::exists(recording_path_of(profile) + ".trace"));
}

TEST(ProfileRecord, CountsEveryChoiceOfEveryToken) {
  const std::string trace_path = temporary_path("counted.trace");
  const std::string path = temporary_path("counted.toml");
  const CommandResult result =
      run_ok(record_arguments("prose", path, {"--trace", trace_path, "-n", "300"}));
  EXPECT_THAT(result.errors, HasSubstr("recorded  300 tokens of 'prose'"));
  expect_nothing_left(path);

  const ExpertProfile profile = profiler::load_profile(path);
  ASSERT_EQ(profile.workloads.size(), 1u);
  EXPECT_EQ(profile.workloads[0], (profiler::Workload{"prose", 300, 0}));
  EXPECT_EQ(profile.replayed_tokens, 300u);
  EXPECT_FALSE(profile.curves.empty());

  const profiler::RoutingTrace trace = profiler::read_trace(trace_path).trace;
  EXPECT_EQ(trace.steps(), 300u);  // as if each token had been generated
  EXPECT_EQ(trace.rows(), 300u);
  EXPECT_EQ(trace.step(127).position, 127u);
  EXPECT_EQ(trace.step(128).position, 0u);  // a context is full
  std::vector<std::vector<std::uint64_t>> counts(profile.layers.size(),
                                                 std::vector<std::uint64_t>(32));
  for (std::size_t step = 0; step < trace.steps(); ++step)
    for (std::size_t layer = 0; layer < counts.size(); ++layer)
      for (const std::uint16_t expert : trace.decision(step, layer).experts)
        counts[layer][expert] += 1;
  for (std::size_t layer = 0; layer < counts.size(); ++layer)
    for (std::size_t expert = 0; expert < 32; ++expert)
      EXPECT_EQ(profile.layers[layer].experts[expert].count, counts[layer][expert]);
}

TEST(ProfileRecord, TheBatchDoesNotMatter) {
  const auto recorded = [](const std::string& batch) {
    const std::string path = temporary_path("batch.toml");
    run_ok(record_arguments("code", path, {"--ubatch-size", batch, "-n", "400", "--restart"}));
    return profiler::load_profile(path);
  };
  ExpertProfile whole = recorded("128"), pieces = recorded("127");  // a rest of one token
  EXPECT_EQ(pieces.workloads, whole.workloads);
  EXPECT_EQ(pieces.curves, whole.curves);
  for (std::size_t i = 0; i < whole.layers.size(); ++i) {
    EXPECT_EQ(pieces.layers[i].reuse, whole.layers[i].reuse);
    for (std::size_t e = 0; e < whole.layers[i].experts.size(); ++e)
      EXPECT_EQ(pieces.layers[i].experts[e].count, whole.layers[i].experts[e].count);
  }
}

// Saving rounds `recent` to steps of 1e-4 and keeps the first few partners; all else is exact.
void expect_continued(const ExpertProfile& continued, const ExpertProfile& at_once,
                      unsigned interruptions) {
  EXPECT_EQ(continued.model, at_once.model);
  EXPECT_EQ(continued.workloads, at_once.workloads);
  EXPECT_EQ(continued.curves, at_once.curves);
  EXPECT_EQ(continued.replayed_tokens, at_once.replayed_tokens);
  ASSERT_EQ(continued.layers.size(), at_once.layers.size());
  for (std::size_t i = 0; i < at_once.layers.size(); ++i) {
    EXPECT_EQ(continued.layers[i].reuse, at_once.layers[i].reuse);
    for (std::size_t e = 0; e < at_once.layers[i].experts.size(); ++e) {
      const profiler::ExpertHistory& have = continued.layers[i].experts[e];
      const profiler::ExpertHistory& want = at_once.layers[i].experts[e];
      EXPECT_EQ(have.count, want.count);
      EXPECT_NEAR(have.recent, want.recent, 0.5e-4 * (interruptions + 1) + 0.51e-4);
      EXPECT_LE(have.partners[0].count, want.partners[0].count);
    }
  }
}

// How often the file has been replaced is not told; that it was, its inode number is.
std::uint64_t inode_of(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

bool has_ended(pid_t child) {
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid != 0;
}

// Kills a recording some time after it has saved its state so often.
void run_and_kill(const Strings& arguments, const std::string& state, unsigned saves,
                  std::chrono::microseconds more) {
  run_hearth(
      {.arguments = arguments, .input = {}, .environment = {}, .meanwhile = [&](pid_t child) {
         std::uint64_t last = inode_of(state);
         for (unsigned seen = 0; seen < saves && !has_ended(child);) {
           const std::uint64_t now = inode_of(state);
           seen += now != last ? 1 : 0;
           last = now;
           std::this_thread::sleep_for(std::chrono::microseconds(200));
         }
         std::this_thread::sleep_for(more);
         kill(child, SIGKILL);
       }});
}

// A recording that Ctrl-C ends in one of its first chunks.
CommandResult stop_early(const Strings& arguments, const std::string& path) {
  return run_hearth(
      {.arguments = arguments, .input = {}, .environment = {}, .meanwhile = [&](pid_t child) {
         while (!std::filesystem::exists(recording_path_of(path) + ".trace"))
           std::this_thread::sleep_for(std::chrono::milliseconds(1));
         kill(child, SIGINT);
       }});
}

TEST(ProfileRecord, AKilledRecordingIsContinued) {
  const std::string path = temporary_path("killed.toml"), trace = temporary_path("killed.trace");
  const Strings arguments =
      record_arguments("json", path, {"--trace", trace, "--save-every", "0", "-n", "800"}, "16");
  run_ok(arguments);
  const ExpertProfile at_once = profiler::load_profile(path);
  const std::string whole_trace = read_file(trace);
  std::filesystem::remove(path);

  constexpr unsigned kKills = 8;
  const std::string partial = recording_path_of(path);
  Random random(7);
  std::uint64_t furthest = 0;
  for (unsigned i = 0; i < kKills; ++i) {
    run_and_kill(arguments, partial, 1 + static_cast<unsigned>(random.below(4)),
                 std::chrono::microseconds(random.below(4000)));
    const std::optional<RecordingState> state = load_recording(partial);
    if (!state) break;                   // it was done before
    EXPECT_GE(state->tokens, furthest);  // what was saved stays saved
    furthest = state->tokens;
  }
  EXPECT_GT(furthest, 0u);
  if (std::filesystem::exists(partial)) run_ok(arguments);
  expect_nothing_left(path);
  expect_continued(profiler::load_profile(path), at_once, kKills);
  EXPECT_EQ(read_file(trace), whole_trace);
}

TEST(ProfileRecord, CtrlCFinishesTheChunkAndSaysHowToGoOn) {
  const std::string path = temporary_path("stopped.toml");
  const Strings arguments = record_arguments("prose", path, {"--save-every=1000"});
  const CommandResult stopped = stop_early(arguments, path);
  EXPECT_EQ(stopped.exit_code, 130);
  EXPECT_THAT(stopped.errors, HasSubstr("the same command continues there"));
  EXPECT_FALSE(std::filesystem::exists(path));
  // On a busy machine the signal may come before the first chunk.
  const bool nothing_done = stopped.errors.find("stopped after 0 of") != std::string::npos;
  const std::string continued = run_ok(arguments).errors;
  EXPECT_EQ(continued.find("continuing after ") == std::string::npos, nothing_done) << continued;
  expect_nothing_left(path);
}

// Hours of text would be lost with a program that is killed in its last second.
TEST(ProfileRecord, WhatWasRecordedIsThereUntilTheProfileIs) {
  const std::string path = temporary_path("unsaved.toml");
  ASSERT_EQ(stop_early(record_arguments("prose", path), path).exit_code, 130);
  const FileReplacement profile(path);  // as far as a profile that is being saved
  EXPECT_TRUE(load_recording(recording_path_of(path)).has_value());
}

TEST(ProfileRecord, WhatIsNoRecordingOfThisIsNotContinued) {
  const std::string path = temporary_path("other.toml");
  ASSERT_EQ(stop_early(record_arguments("prose", path), path).exit_code, 130);
  expect_error(run_hearth(record_arguments("code", path)), kFailed,
               {"another recording was begun", "workload 'prose'", "--restart"}, Before::kReport);
  write_file(recording_path_of(path), "{}");
  expect_error(run_hearth(record_arguments("prose", path)), kFailed,
               {".recording", "damaged", "--restart"}, Before::kReport);
  run_ok(record_arguments("code", path, {"--restart"}));
  EXPECT_EQ(profiler::load_profile(path).workloads[0].label, "code");
}

TEST(ProfileRecord, ACompleteProfileIsNotReplacedInSilence) {
  const std::string& path = recorded_profile("prose");
  expect_error(run_hearth(record_arguments("prose", path)), kFailed, {path, "merge", "--restart"});
}

TEST(ProfileRecord, OnlyAProfileIsReplaced) {
  const std::string text = short_text("prose"), notes = temporary_path("notes.txt");
  Strings onto_itself = record_arguments("prose", text, {"--restart"});
  const std::string before = read_file(text);
  expect_error(run_hearth(onto_itself), kMisused, {"--output is the file of --file"});
  EXPECT_TRUE(read_file(text) == before);

  write_file(notes, "what I know of models");
  for (const Strings& more : {Strings{}, {"--restart"}}) {
    for (const std::string& path : {notes, kTinyModel})
      expect_error(run_hearth(record_arguments("prose", path, more)), kFailed,
                   {path, "is no profile", "would be lost"});
    expect_error(run_hearth(record_arguments("prose", "/dev/full", more)), kFailed,
                 {"/dev/full", "is not a regular file"});
  }
  EXPECT_EQ(read_file(notes), "what I know of models");
  expect_nothing_left(notes);
  expect_nothing_left(kTinyModel);
}

TEST(ProfileRecord, CountingIsAPartOfTheBudget) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "sanitizers hold shadow memory";
  const std::string path = temporary_path("budget.toml");
  const CommandResult result =
      run_ok(record_arguments("prose", path, {"--ram", "32MiB", "--ubatch-size", "64"}));
  EXPECT_THAT(result.errors, HasSubstr("of --ram\n"));
  EXPECT_LE(result.peak_memory, 32 * kMiB);
}

TEST(ProfileRecord, RefusesWhatMakesNoSense) {
  const std::string path = temporary_path("refused.toml"), empty = temporary_path("empty.txt");
  const auto with = [&](Strings more) {
    Strings arguments = {"profile", "record", "-m", kDemoModel, "-o", path};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_hearth(arguments);
  };
  write_file(empty, "");
  expect_error(with({"--workload", "x"}), kMisused, {"--file"});
  expect_error(with({"-f", empty}), kMisused, {"--workload"});
  expect_error(with({"-f", empty, "--workload", "x"}), kFailed, {"--file"}, Before::kReport);
  expect_error(with({"-f", "/nowhere", "--workload", "x"}), kFailed, {"/nowhere"}, Before::kReport);
  expect_error(with({"-f", empty, "--workload", "a\nb"}), kMisused, {"--workload"});
  expect_error(with({"-f", empty, "--workload", "x", "-n", "1"}), kMisused, {"--tokens"});
  expect_error(with({"-f", empty, "--workload", "x", "--save-every", "-1"}), kMisused,
               {"--save-every"});
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace hearth::tools::testing
