// --device, --vram and --list-devices: the same answer on a GPU as on the CPU, and one line where
// there is none, where it is too small, or where something does not work on it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
constexpr int kNoDevice = 3;

using Strings = std::vector<std::string>;

Strings run_of(Strings more) {
  Strings arguments{"run", "-m", kTiny, "-p", "a b",          "-n",     "3",
                    "-c",  "64", "-t",  "1",  "--ignore-eos", "--temp", "0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(DeviceFlag, NoneIsAlwaysThere) {
  EXPECT_EQ(run_hearth(run_of({"--device", "none", "--no-report"})).exit_code, 0);
  expect_error(run_hearth(run_of({"--device", "none", "--vram", "1GiB"})), kMisused,
               {"--vram 1.00 GiB and --device none"});
  expect_error(run_hearth(run_of({"--plan", "x", "--device", "none"})), kMisused, {"--device"});
}

TEST(DeviceFlag, SaysThatThereIsNone) {
  const CommandResult list = run_hearth({"run", "--list-devices"});
  ASSERT_EQ(list.exit_code, 0) << list.errors;
  if (!list.output.starts_with("no devices: ")) GTEST_SKIP() << "this machine has a GPU";
  expect_error(run_hearth(run_of({"--device", "cuda0"})), kNoDevice,
               {"--device cuda0: there is no GPU: ", "leave it out"});
  expect_error(run_hearth(run_of({"--vram", "1GiB"})), kNoDevice,
               {"--vram 1.00 GiB: there is no GPU: "});
}

#ifdef HEARTH_EMULATED

CommandResult run_emulated(Strings arguments) {
  return run_hearth({.arguments = std::move(arguments),
                     .input = {},
                     .environment = {},
                     .program = HEARTH_EMULATED});
}

// The line of the report that begins so, without it.
std::string line_of(const CommandResult& result, const std::string& subject) {
  std::string found;
  for (std::size_t at = 0; at < result.errors.size();) {
    const std::size_t end = std::min(result.errors.find('\n', at), result.errors.size());
    const std::string line = result.errors.substr(at, end - at);
    if (line.starts_with(subject + " ")) found = line.substr(subject.size() + 1);
    at = end + 1;
  }
  return found;
}

TEST(DeviceFlag, GivesTheAnswerOfTheCpu) {
  const CommandResult cpu = run_emulated(run_of({"--device", "none"}));
  const CommandResult gpu = run_emulated(run_of({"--device", "EMULATED0", "--vram", "16MiB"}));
  ASSERT_EQ(cpu.exit_code, 0) << cpu.errors;
  ASSERT_EQ(gpu.exit_code, 0) << gpu.errors;
  EXPECT_EQ(gpu.output, cpu.output);
  EXPECT_FALSE(line_of(cpu, "logits").empty());
  EXPECT_EQ(line_of(gpu, "logits"), line_of(cpu, "logits"));
  EXPECT_NE(line_of(gpu, "device").find("launches and host synchronisations a token"),
            std::string::npos)
      << gpu.errors;
  EXPECT_NE(line_of(gpu, "vram").find("planned"), std::string::npos) << gpu.errors;
  EXPECT_EQ(gpu.errors.find("hit rate"), std::string::npos) << gpu.errors;
}

TEST(DeviceFlag, AutoTakesWhatFits) {
  const CommandResult gpu = run_emulated(run_of({"--no-report"}));
  EXPECT_EQ(gpu.exit_code, 0) << gpu.errors;
  EXPECT_NE(gpu.errors.find("device    emulated0, emulated"), std::string::npos) << gpu.errors;
  // 64 MiB of memory do not hold the keys and values.
  const CommandResult large = run_emulated({"run", "-m", kTiny, "-p", "a", "-n", "1", "-c",
                                            "400000", "-t", "1", "--ram", "2GiB", "--no-report"});
  EXPECT_EQ(large.exit_code, 0) << large.errors;
  EXPECT_NE(large.errors.find("note      the CPU computes; "), std::string::npos) << large.errors;
}

TEST(DeviceFlag, RefusesWhatIsTooSmall) {
  const std::string line = expect_error(
      run_emulated(run_of({"--device", "emulated0", "--vram", "100KiB"})), kFailed, {"GPU memory"});
  EXPECT_FALSE(line.empty());
}

TEST(DeviceFlag, ListsDevices) {
  const CommandResult some = run_emulated({"run", "--list-devices"});
  EXPECT_EQ(some.exit_code, 0) << some.errors;
  EXPECT_EQ(some.output, "emulated0: emulated (host, none), 64.0 MiB\n");
}

TEST(DeviceFlag, SaysWhatIsUnknownOrDoesNotWork) {
  expect_error(run_emulated(run_of({"--device", "cuda7"})), kMisused,
               {"--device cuda7: unknown name", "auto, none, emulated0"});
  expect_error(run_emulated(run_of({"--device", "emulated0", "--session", temporary_path("s")})),
               kFailed, {"emulated0: --session does not work on a device yet", "--device none"},
               Before::kReport);
}

TEST(DeviceFlag, MeasuresOnADevice) {
  const auto bench = [](const std::string& device) {
    const CommandResult result =
        run_emulated({"bench", "-m", kTiny, "-p", "5", "-n", "2", "-r", "1", "-t", "1", "--device",
                      device, "--output", "json"});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output, nullptr, false);
  };
  const auto cpu = bench("none"), gpu = bench("emulated0");
  ASSERT_TRUE(cpu.is_array() && gpu.is_array() && cpu.size() == gpu.size());
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    EXPECT_EQ(gpu[i]["logits_hash"], cpu[i]["logits_hash"]);
    EXPECT_EQ(gpu[i]["backends"], "emulated0");
    EXPECT_EQ(cpu[i]["backends"], "CPU");
    EXPECT_TRUE(gpu[i]["expert_hit_rate"].is_null());
  }
}

#endif

}  // namespace
}  // namespace hearth::tools::testing
