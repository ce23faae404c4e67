// What llama.cpp's routers choose, as hearth-llama-record counts it, is what Hearth's routers
// choose for the same tokens. Where no llama.cpp was named, there is no recorder to be tested.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "profiler/profile_counts.h"
#include "profiler/profile_toml.h"
#include "tests/runtime/support/counted_run.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

const std::string kRecorder = HEARTH_LLAMA_RECORDER;  // empty: not built

int run(const std::string& arguments) {
  const int status = std::system((kRecorder + " " + arguments).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class LlamaRecorder : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (kRecorder.empty()) GTEST_SKIP() << "HEARTH_LLAMA_DIR is not set: there is no recorder";
    folder_ = fs::temp_directory_path() / fmt::format("llama_recorder_test.{}", getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  fs::path folder_;
};

// No choice of these models for these tokens is near a tie (tests/golden/README.md), so that none
// may differ, whatever the arithmetic.
TEST_P(LlamaRecorder, CountsWhatHearthRoutes) {
  const std::string base = std::string(HEARTH_SOURCE_DIR "/tests/golden/") + GetParam();
  const auto description = nlohmann::json::parse(std::ifstream(base + ".json"));
  const std::vector<TokenId> tokens = description["token_ids"];
  const std::string output = path("profile.toml");
  // Two steps of a prompt: 32 tokens, then 8.
  ASSERT_EQ(
      run(fmt::format("-m '{}.gguf' --token-ids {} --workload golden -o '{}' -c {} -b 32 -t 1 "
                      "2>'{}'",
                      base, fmt::join(tokens, ","), output, tokens.size(), path("log"))),
      0)
      << std::ifstream(path("log")).rdbuf();
  const profiler::ExpertProfile found = profiler::load_profile(output);
  const profiler::ExpertProfile own =
      testing::counted_run(base + ".gguf", tokens, 32, "golden", [](const profiler::Routing&) {});
  EXPECT_EQ(profiler::counts_of(found), profiler::counts_of(own));
  EXPECT_EQ(found.model, own.model);
  EXPECT_EQ(found.workloads, own.workloads);
  ASSERT_EQ(found.layers.size(), own.layers.size());
  for (std::size_t i = 0; i < own.layers.size(); ++i)
    EXPECT_EQ(found.layers[i].reuse, own.layers[i].reuse) << "layer " << own.layers[i].layer;
}

INSTANTIATE_TEST_SUITE_P(Golden, LlamaRecorder,
                         ::testing::Values("qwen3moe", "qwen3moe-f16", "qwen3moe-kquants",
                                           "qwen3moe-opt", "olmoe", "gpt-oss", "glm4moe",
                                           "deepseek2-v3", "llama4", "qwen35moe"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class LlamaRecorderErrors : public LlamaRecorder {};

TEST_P(LlamaRecorderErrors, AreOneLineAndACode) {
  const std::string model = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
  const auto fails = [&](const std::string& arguments, int code, const std::string& part) {
    EXPECT_EQ(run(fmt::format("{} 2>'{}'", arguments, path("log"))), code) << arguments;
    std::string line, more;
    std::ifstream log(path("log"));
    std::getline(log, line);
    EXPECT_TRUE(line.starts_with("hearth-llama-record: error: ")) << line;
    EXPECT_NE(line.find(part), std::string::npos) << line;
    EXPECT_FALSE(std::getline(log, more)) << more;
  };
  fails("", 2, "--model");
  fails("--nothing", 2, "unknown flag");
  fails("-m x", 2, "--workload");
  fails("-m x --workload w", 2, "--file");
  fails("-m x --workload w --token-ids 1,x", 2, "'x'");
  fails("-m /nonexistent.gguf --workload w --token-ids 1,2", 1, "/nonexistent.gguf");
  fails(fmt::format("-m '{}' --workload w --token-ids 1,999999 -o '{}'", model, path("p")), 2,
        "999999");
  std::ofstream(path("there")) << "x";
  fails(fmt::format("-m '{}' --workload w --token-ids 1,2 -o '{}'", model, path("there")), 1,
        "a profile is there already");
}

INSTANTIATE_TEST_SUITE_P(Recorder, LlamaRecorderErrors, ::testing::Values("all"));

}  // namespace
}  // namespace hearth
