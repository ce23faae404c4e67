// Traces through the command: recorded by run, bench and perplexity, described by trace show.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "profiler/trace_file.h"
#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kProse = HEARTH_SOURCE_DIR "/models/eval/prose.txt";

CommandResult run_ok(std::vector<std::string> arguments) {
  CommandResult result = run_hearth(std::move(arguments));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return result;
}

// Without a trace where its name is empty.
CommandResult record(const std::string& trace, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"run", "-m", kModel, "-p", "Once upon a time", "-n", "20"};
  arguments.insert(arguments.end(),
                   {"-c", "256", "--temp", "0", "-t", "2", "--ignore-eos", "--no-report"});
  if (!trace.empty()) arguments.insert(arguments.end(), {"--trace", trace});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_ok(arguments);
}

Json shown(const std::string& trace) {
  return Json::parse(run_ok({"trace", "show", trace, "--json"}).output);
}

TEST(TraceRecording, EveryTokenThatWasComputedIsThere) {
  const std::string path = temporary_path("run.trace");
  const CommandResult result = record(path, {"--workload", "prose"});
  const profiler::TraceReadResult read = profiler::read_trace(path);
  const profiler::RoutingTrace& trace = read.trace;
  EXPECT_EQ(read.incomplete_bytes, 0u);
  EXPECT_EQ(trace.header().workload, "prose");
  EXPECT_EQ(trace.header().origin, "recorded");
  ASSERT_EQ(trace.steps(), 20u) << "the prompt, and every generated token but the last";
  std::uint32_t position = 0;
  for (std::size_t s = 0; s < trace.steps(); ++s) {
    EXPECT_EQ(trace.step(s).position, position);
    position += trace.step(s).rows;
  }
  EXPECT_EQ(position, trace.rows());
  EXPECT_THAT(result.errors, HasSubstr(fmt::format("trace     {} tokens, ", trace.rows())));
  // The weights of a token sum to one, as far as bf16 of four of them goes.
  const profiler::Routing routing = trace.decision(3, 2);
  float sum = 0;
  for (const float weight : routing.weights) sum += weight;
  EXPECT_NEAR(sum, 1, 0x1p-8);
}

// What is routed depends on no budget, and recording it changes nothing.
TEST(TraceRecording, IsTheSameUnderEveryBudget) {
  const std::string full = temporary_path("full.trace"), tight = temporary_path("tight.trace");
  const CommandResult with = record(full);
  const CommandResult bounded = record(tight, {"--expert-ram", "20%"});
  EXPECT_EQ(read_file(full), read_file(tight));
  const CommandResult without = record("");
  EXPECT_EQ(with.output, without.output);
  EXPECT_EQ(with.output, bounded.output);
}

TEST(TraceRecording, PerplexityAndBenchRecord) {
  const std::string path = temporary_path("other.trace");
  run_ok({"perplexity", "-m", kModel, "-f", kProse, "-c", "64", "--chunks", "3", "--trace", path});
  Json json = shown(path);
  EXPECT_EQ(json["tokens"], 3 * 64);
  EXPECT_EQ(json["sequences"], 3);
  EXPECT_EQ(json["decoded_tokens"], 0);
  run_ok({"bench", "-m", kModel, "-f", kProse, "-p", "0", "-n", "8", "-d", "16", "-r", "1",
          "--trace", path});
  json = shown(path);
  EXPECT_EQ(json["decoded_tokens"], 2 * 8) << "the repetition and the warm-up";
  EXPECT_EQ(json["tokens"], 2 * (16 + 8));
}

TEST(TraceRecording, AfterCtrlCTheTraceIsWhole) {
  const std::string path = temporary_path("interrupted.trace");
  CommandRun run{
      .arguments = {"run", "-m", kModel, "-p", "Once upon a time", "-n", "4000", "-c", "4096",
                    "--temp", "0", "--ignore-eos", "--no-report", "--trace", path},
      .input = {},
      .environment = {}};
  run.meanwhile = [](pid_t child) {
    wait_for_output();
    kill(child, SIGINT);
  };
  EXPECT_EQ(run_hearth(run).exit_code, 130);
  const profiler::TraceReadResult read = profiler::read_trace(path);
  EXPECT_EQ(read.incomplete_bytes, 0u);
  EXPECT_GE(read.trace.steps(), 1u);
}

TEST(TraceShow, DescribesATrace) {
  const std::string path = temporary_path("shown.trace");
  record(path, {"--workload", "prose"});
  const std::string text = run_ok({"trace", "show", path}).output;
  for (const char* part :
       {"qwen3moe, tiny-moe, experts in Q4_K 80 %, Q6_K 20 %", "32 x 7 layers, 4 per token",
        "workload      prose\n", "origin        recorded\n", "weights       bf16\n",
        "end           complete\n", " in 1 sequence: ", ", 19 one by one\n"})
    EXPECT_THAT(text, HasSubstr(part));
  const Json json = shown(path);
  ASSERT_EQ(json["layers"].size(), 7u);
  for (const Json& layer : json["layers"]) {
    EXPECT_EQ(layer["experts"], 32);
    EXPECT_GE(layer["used"], 4);
    EXPECT_LE(layer["repeated"], layer["repeated_within_8"]);
  }
}

// Two tokens of two experts each: 0 1, then 1 2. One of the second's two was used before.
TEST(TraceShow, CountsRepeatsAndDistinctExperts) {
  const std::string path = temporary_path("counted.trace");
  profiler::TraceHeader header;
  header.model = {.architecture = "a", .layers = 1, .experts_per_layer = 4};
  header.layers = {{0, 4}};
  header.experts_per_row = 2;
  header.has_weights = false;
  {
    profiler::TraceWriter writer(path, header, 2);
    const std::vector<std::uint16_t> experts = {0, 1, 1, 2};
    writer.add({0, 2, 2, experts, {}, 0});
  }
  const Json layer = shown(path)["layers"][0];
  EXPECT_EQ(layer["used"], 3);
  EXPECT_EQ(layer["repeated"], 0.25) << "of four uses";
}

TEST(TraceShow, SaysThatTheEndIsMissing) {
  const std::string path = temporary_path("cut.trace");
  record(path);
  const std::string whole = read_file(path);
  write_file(path, whole.substr(0, whole.size() - 5));
  EXPECT_THAT(run_ok({"trace", "show", path}).output,
              HasSubstr("of a step that is cut off, or still being written"));
  EXPECT_EQ(shown(path)["decoded_tokens"], 18);
  std::string header = whole.substr(0, whole.find("STEP"));
  write_file(path, header);
  EXPECT_THAT(run_ok({"trace", "show", path}).output, HasSubstr("tokens        0 in 0 sequences"));
  header[header.find("tiny")] = 'T';
  write_file(path, header);
  expect_error(run_hearth({"trace", "show", path}), kFailed,
               {path, "byte 20: the checksum of the header is wrong", "record it again"});
}

TEST(TraceFlags, WhatCannotWorkIsRefused) {
  const std::vector<std::string> run = {"run", "-m", kModel, "-p", "x", "-n", "1", "--no-report"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), run.begin(), run.end());
    return run_hearth(more);
  };
  const std::string trace = temporary_path("refused.trace");
  expect_error(with({"--workload", "code"}), kMisused, {"--workload labels", "add --trace FILE"});
  expect_error(with({"--trace", trace, "--workload", "a\nb"}), kMisused,
               {"'a\\x0ab' is no label", "at most 64 bytes"});
  expect_error(with({"--trace", trace, "--workload", std::string(65, 'x')}), kMisused,
               {"no label"});
  expect_error(with({"--trace", ""}), kMisused, {"--trace"});
  expect_error(with({"--trace", "/absent/t"}), kFailed, {"/absent/t", "cannot be created"},
               Before::kReport);
  // A slip that would cost a model file.
  const std::string model = temporary_path("model.gguf");
  write_file(model, "GGUF and more");
  expect_error(with({"--trace", model}), kFailed, {model, "is not a routing trace"},
               Before::kReport);
  EXPECT_EQ(read_file(model), "GGUF and more");
  expect_error(run_hearth({"trace", "show", kModel}), kFailed, {kModel, "is not a routing trace"});
  expect_error(run_hearth({"trace", "show", "/absent"}), kFailed, {"/absent", "No such file"});
  expect_error(run_hearth({"trace", "shwo"}), kMisused, {"did you mean 'show'?"});
}

TEST(TraceFlags, AFullDiskIsToldAfterTheRun) {
  const CommandResult result =
      run_hearth({"run", "-m", kModel, "-p", "x", "-n", "1", "--trace", "/dev/full"});
  expect_error(result, kFailed, {"/dev/full", "No space left"}, Before::kReport);
}

}  // namespace
}  // namespace hearth::tools::testing
