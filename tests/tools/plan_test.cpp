// hearth plan and --plan, as a user has them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/gguf.h"
#include "runtime/engine.h"
#include "tests/sanitized.h"
#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

const std::string kTiny = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kGolden = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";

CommandResult run_plan(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "plan");
  // No figures of the machine that runs this.
  return run_hearth(CommandRun{std::move(arguments), {}, {{"XDG_CONFIG_HOME", "/nowhere"}}});
}

nlohmann::json plan_json(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const CommandResult result = run_plan(std::move(arguments));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return nlohmann::json::parse(result.output);
}

// "process 12.8 MiB" of the line that run prints about its memory.
std::string process_of(const std::string& text) {
  const std::size_t begin = text.find(", process ");
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST(PlanCommand, PrintsEveryByteByTier) {
  const CommandResult result = run_plan(
      {"-m", kTiny, "--ram", "30MiB", "--machine", "rtx3060-12g-ddr4", "--vram", "900MiB"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  for (const std::string_view part :
       {"VRAM", "process", "dense weights", "KV cache", "scratch", "experts", "total", "policy",
        "hits", "tok/s", "bound by", "is an outlook"})
    EXPECT_NE(result.output.find(part), std::string::npos) << part << " in " << result.output;
}

// The published shape: 40 layers of 256 experts, of which every fourth attends with 2 heads of 256
// and 30 are recurrent with 32 states of 128 × 128 and 3 inputs of 8192 channels.
TEST(PlanCommand, KnowsTheBytesOfARecurrentModel) {
  const std::string path = temporary_path("qwen3.6.gguf");
  const CommandResult made =
      run_hearth({"synth", "-o", path, "--shape", "qwen3.6-35b-a3b", "--header-only"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  // Of another machine, so that the memory that is free here does not matter.
  const auto plan_of = [&](const char* context) {
    return plan_json(
        {"-m", path, "--ram", "16GiB", "-t", "2", "-c", context, "--machine", "ddr5-5600-dual"});
  };
  const auto plan = plan_of("4096");
  EXPECT_EQ(plan["experts_total"], 10'240);
  EXPECT_EQ(plan["ram"]["state"], 30 * (32 * 128 * 128 + 3 * 8192) * 4);  // 62.8 MiB
  EXPECT_EQ(plan["kv_bytes_per_token"], 20'480);
  std::uint64_t expert_bytes = 0;
  for (const auto& one : plan["classes"])
    expert_bytes += one["expert"].get<std::uint64_t>() * one["experts"].get<std::uint64_t>();
  EXPECT_EQ(expert_bytes / 10'240, 1'904'640);  // three matrices of 512 × 2048 in 4.8 bits
  const auto longer = plan_of("8192");
  EXPECT_EQ(longer["ram"]["kv"].get<std::int64_t>() - plan["ram"]["kv"].get<std::int64_t>(),
            4096 * 20'480);
  EXPECT_EQ(longer["ram"]["state"], plan["ram"]["state"]);
  const CommandResult text =
      run_plan({"-m", path, "--ram", "16GiB", "-t", "2", "--machine", "rtx4060-8g-ddr5"});
  for (const char* part : {"62.8 MiB", "20,480 bytes for each more"})
    EXPECT_NE(text.output.find(part), std::string::npos) << part << "\n" << text.output;
}

TEST(PlanCommand, NeedsTheHeaderOnly) {
  const std::string whole = read_file(kTiny), path = temporary_path("header.gguf");
  const io::GgufFile file = io::GgufFile::open(kTiny, runtime::block_shape_of);
  std::uint64_t header = whole.size();
  for (const io::GgufTensor& tensor : file.tensors()) header = std::min(header, tensor.offset);
  write_file(path, whole.substr(0, header));
  const auto of_header = plan_json({"-m", path, "--ram", "30MiB", "-t", "2"});
  const auto of_whole = plan_json({"-m", kTiny, "--ram", "30MiB", "-t", "2"});
  EXPECT_EQ(of_header["ram"], of_whole["ram"]);
  EXPECT_FALSE(of_header["notes"].empty());
  // Running it is another matter.
  expect_error(run_hearth({"run", "-m", path, "-p", "a"}), kFailed, {"truncated"});
  write_file(path, whole.substr(0, header / 2));
  expect_error(run_plan({"-m", path}), kFailed, {"truncated"});
}

// The bound of the process follows from the header: nobody else's memory, and no fall-back to what
// the process really holds.
TEST(PlanCommand, TheProcessStaysWithinItsBound) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "sanitizers hold shadow memory";
  const std::string words = temporary_path("words.gguf");
  ASSERT_EQ(
      run_hearth({"synth", "--shape", "tiny", "--vocab-size", "102400", "-o", words}).exit_code, 0);
  for (const std::string& model : {kTiny, kGolden, words})
    for (const char* threads : {"1", "8"}) {
      SCOPED_TRACE(model + " with " + threads);
      const auto plan =
          plan_json({"-m", model, "--expert-ram", "100%", "-t", threads, "-c", "256"});
      const CommandResult run =
          run_hearth({"run", "-m", model, "--expert-ram", "100%", "-t", threads, "-c", "256", "-p",
                      "a", "-n", "1", "--no-report"});
      ASSERT_EQ(run.exit_code, 0) << run.errors;
      const double mib = plan["ram"]["process"].get<double>() / (1 << 20);
      EXPECT_EQ(process_of(run.errors), fmt::format(", process {:.1f} MiB", mib));
      EXPECT_LE(run.peak_memory.count, plan["ram"]["total"].get<std::uint64_t>());
    }
}

TEST(PlanCommand, WritesWhatOthersFollow) {
  const std::string path = temporary_path("plan.toml");
  ASSERT_EQ(run_plan({"-m", kTiny, "--ram", "30MiB", "-c", "128", "-t", "2", "-o", path}).exit_code,
            0);
  const CommandResult run = run_hearth({"run", "-m", kTiny, "--plan", path, "-p", "a", "-n", "1"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NE(run.errors.find("for 128 tokens"), std::string::npos) << run.errors;

  for (const std::vector<std::string>& flag : {std::vector<std::string>{"--ram", "30MiB"},
                                               {"-c", "128"},
                                               {"-t", "2"},
                                               {"--policy", "lru"}}) {
    std::vector<std::string> arguments = {"run", "-m", kTiny, "--plan", path, "-p", "a"};
    arguments.insert(arguments.end(), flag.begin(), flag.end());
    expect_error(run_hearth(arguments), kMisused, {"--plan", "leave one of them out"});
  }
  expect_error(run_hearth({"run", "-m", kGolden, "--plan", path, "-p", "a"}), kFailed,
               {path, "another model"});
  write_file(path, "nothing");
  expect_error(run_hearth({"run", "-m", kTiny, "--plan", path, "-p", "a"}), kFailed,
               {path, "no placement plan"});
}

TEST(PlanCommand, RefusesWhatCannotTakeEffect) {
  expect_error(run_plan({"-m", kTiny, "--json", "--toml"}), kMisused, {"--json and --toml"});
  expect_error(run_plan({"-m", kTiny, "--json", "-o", "x"}), kMisused, {"--output"});
  expect_error(run_plan({"-m", kTiny, "--vram", "1GiB"}), kMisused, {"no GPU"});
  expect_error(run_plan({"-m", kTiny, "--machine", "rtx9999"}), kMisused, {"--machine"});
  expect_error(run_plan({"-m", kTiny, "--ram", "1MiB"}), kFailed, {"the least that works is"});
}

TEST(PlanCommand, SaysWhatItDoesNotTakeAsGiven) {
  expect_error(run_plan({"-m", kTiny, "-c", "256", "--depth", "257"}), kMisused,
               {"--depth 257", "256 tokens", "--ctx-size"});
  const CommandResult card =
      run_plan({"-m", kTiny, "--machine", "rtx3060-12g-ddr4", "--vram", "24GiB"});
  EXPECT_NE(card.output.find("--vram is more than the GPU has: this is a plan for its 12.0 GiB"),
            std::string::npos)
      << card.output << card.errors;
}

TEST(PlanCommand, FormatsOfKeysAndValuesBuySlots) {
  const std::vector<std::string> common = {"-m", kTiny, "--ram", "80MiB", "-c", "16384", "-t", "2"};
  const auto with = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), common.begin(), common.end());
    return flags;
  };
  const auto f16 = plan_json(with({})), mixed = plan_json(with({"-ctk", "q8_0", "-ctv", "q4_0"}));
  EXPECT_EQ(f16["type_k"], "f16");
  EXPECT_EQ(mixed["type_k"], "q8_0");
  EXPECT_EQ(mixed["type_v"], "q4_0");
  EXPECT_EQ(mixed["kv_tail"], 128);
  EXPECT_EQ(mixed["kv_rotation"], true);
  EXPECT_EQ(plan_json(with({"-ctk", "q8_0", "--kv-rotation", "off"}))["kv_rotation"], false);
  expect_error(run_plan(with({"--kv-rotation", "off"})), kMisused,
               {"--kv-rotation off: neither f16 nor f16 is quantized"});
  EXPECT_LT(mixed["ram"]["kv"], f16["ram"]["kv"]);
  EXPECT_GT(mixed["ram"]["experts"], f16["ram"]["experts"]);

  const std::string path = temporary_path("kv.toml");
  ASSERT_EQ(run_plan(with({"-ctk", "q8_0", "-ctv", "q4_0", "-o", path})).exit_code, 0);
  const std::vector<std::string> run = {"run", "-m", kTiny, "-p", "a", "-n", "1", "--plan", path};
  const CommandResult result = run_hearth(run);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.errors.find("for 16384 tokens, q8_0/q4_0, tail 128"), std::string::npos)
      << result.errors;
  std::vector<std::string> contradicting = run;
  contradicting.insert(contradicting.end(), {"-ctk", "q8_0"});
  expect_error(run_hearth(contradicting), kMisused, {"decides what --cache-type-k would"});
}

}  // namespace
}  // namespace hearth::tools::testing
