// What `./dev gpu-check` runs on a machine with a GPU, on the emulation: all of its steps, its
// table and its file.
#ifdef HEARTH_EMULATED
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/sanitized.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;
using namespace testing;

CommandResult gpu_check(std::vector<std::string> arguments) {
  return run_hearth({.arguments = std::move(arguments),
                     .input = {},
                     .environment = {},
                     .program = HEARTH_SOURCE_DIR "/benchmarks/gpu-check.sh"});
}

// Whole models: every setting with the figures of its lanes, and the logits of all others.
void expect_models(const nlohmann::json& records, const std::string& output) {
  std::map<std::string, std::string> logits;  // of a test
  std::map<std::string, double> link_bytes;   // of a setting
  std::set<std::string> settings;
  for (const auto& record : records) {
    const auto first = logits.try_emplace(record["test"], record["logits_hash"]).first;
    EXPECT_EQ(record["logits_hash"], first->second) << record;
    settings.insert(record["setting"]);
    EXPECT_EQ(record["host_syncs_inside_steps"], 0) << record;
    EXPECT_GT(record["link_peak_bytes_per_s"], 0) << record;
    EXPECT_FALSE(record["share_of_link_peak"].is_null()) << record;
    const std::string setting = record["setting"];
    link_bytes[setting] += record["link_bytes_per_token"].get<double>();
    if (record["n_gen"] != 0) {
      EXPECT_LE(record["launches_per_token"], 3.0) << record;
    } else if (setting == "all") {
      EXPECT_EQ(record["chunk_resident_share"], 1.0) << record;
    }
  }
  EXPECT_EQ(settings, (std::set<std::string>{"all", "60 %", "3MiB", "4MiB", "3MiB link", "3MiB cpu",
                                             "no overlap", "no ahead"}));
  EXPECT_EQ(logits.size(), 4u);
  EXPECT_GT(link_bytes["3MiB link"], 0);
  EXPECT_EQ(link_bytes["3MiB cpu"], 0);
  EXPECT_NE(output.find("60 %: "), std::string::npos) << output;
  EXPECT_NE(output.find("60 %: a prompt has "), std::string::npos) << output;
}

TEST(GpuCheck, RunsItsStepsAndTellsWhatRan) {
  if (hearth::testing::kSanitized) GTEST_SKIP() << "the limits of the steps are for plain programs";
  if (std::getenv("HEARTH_IO") != nullptr) GTEST_SKIP() << "a minute of steps, none about readers";
  const fs::path programs = fs::path(HEARTH_EMULATED).parent_path();
  const std::string results = temporary_path("results");
  const CommandResult run = gpu_check({programs, "--dry-run", "--results", results});
  ASSERT_EQ(run.exit_code, 0) << run.output << run.errors;
  const auto json = nlohmann::json::parse(read_file(results + "/emulated.json"));
  EXPECT_EQ(json["device"], "emulated, host, none");
  EXPECT_TRUE(json["emulated"].get<bool>());
  EXPECT_EQ(json["machine"]["name"], "emulated");
  EXPECT_GT(json["machine"]["gather_gb_s"].get<double>(), 0);
  EXPECT_GT(json["kernels"]["kernels"].size(), 50u);
  EXPECT_EQ(run.output.find("not measured: "), std::string::npos) << run.output;
  std::map<std::string, std::string> steps;
  for (const auto& step : json["steps"]) steps[step["step"]] = step["result"];
  EXPECT_EQ(steps.size(), 8u);
  for (const char* name : {"answers", "rows", "doctor", "kernels", "qwen3.6-35b-a3b"})
    EXPECT_EQ(steps[name], "passed") << name << run.output;
  EXPECT_EQ(read_file(results + "/emulated.log"), run.output);
  expect_models(json["models"], run.output);
  for (const auto& [name, result] : steps)
    EXPECT_NE(run.output.find("| " + name), std::string::npos) << name << " in " << run.output;
}

TEST(GpuCheck, RunsTheStepsThatAreNamed) {
  const fs::path programs = fs::path(HEARTH_EMULATED).parent_path();
  const std::string results = temporary_path("some");
  const CommandResult run =
      gpu_check({programs, "--dry-run", "--results", results, "--only", "sanitizer"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(nlohmann::json::parse(read_file(results + "/emulated.json"))["steps"].size(), 1u);
  const CommandResult wrong = gpu_check({programs, "--dry-run", "--only", "speed"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.errors.find("--only speed: there are answers rows"), std::string::npos)
      << wrong.errors;
}

TEST(GpuCheck, SaysWhatIsMissing) {
  const CommandResult nowhere = gpu_check({"/no/such/folder"});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_NE(nowhere.errors.find("is missing; run ./dev gpu-check --build"), std::string::npos);
  EXPECT_EQ(gpu_check({}).exit_code, 2);
}

}  // namespace
}  // namespace hearth::tools
#endif
