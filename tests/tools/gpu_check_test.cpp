// What `./dev gpu-check` runs on a machine with a GPU, on the emulation: all of its steps, its
// table and its file.
#ifdef HEARTH_EMULATED
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

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

TEST(GpuCheck, RunsItsStepsAndTellsWhatRan) {
  if (hearth::testing::kSanitized) GTEST_SKIP() << "the limits of the steps are for plain programs";
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
  std::map<std::string, std::string> steps;
  for (const auto& step : json["steps"]) steps[step["step"]] = step["result"];
  EXPECT_EQ(steps.size(), 5u);
  for (const char* name : {"rows", "doctor", "kernels"}) EXPECT_EQ(steps[name], "passed") << name;
  for (const auto& [name, result] : steps)
    EXPECT_NE(run.output.find("| " + name), std::string::npos) << name << " in " << run.output;
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
