// --device, --vram and --list-devices: the same answer on a GPU as on the CPU, and one line where
// there is none, where it is too small, or where something does not work on it.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"
#include "tools/hearth/engine_flags.h"

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
               {"--vram 1024 MiB and --device none"});
  expect_error(run_hearth(run_of({"--device", "none", "--vram", "1000000"})), kMisused,
               {"--vram 1000000 B and --device none"});
  expect_error(run_hearth(run_of({"--plan", "x", "--device", "none"})), kMisused, {"--device"});
}

TEST(DeviceFlag, SaysThatThereIsNone) {
  const CommandResult list = run_hearth({"run", "--list-devices"});
  ASSERT_EQ(list.exit_code, 0) << list.errors;
  if (!list.output.starts_with("no devices: ")) GTEST_SKIP() << "this machine has a GPU";
  expect_error(run_hearth(run_of({"--device", "cuda0"})), kNoDevice,
               {"--device cuda0: there is no GPU: ", "leave it out"});
  expect_error(run_hearth(run_of({"--vram", "1GiB"})), kNoDevice,
               {"--vram 1024 MiB: there is no GPU: "});
}

TEST(DeviceFlag, SaysWhatBothTiersHold) {
  profiler::PlacementPlan plan{.experts = 48};
  plan.vram = {.slots_of_class = {20, 10}, .held_of_class = {10, 8}};
  plan.ram.slots_of_class = {10, 20};
  EXPECT_EQ(
      tiers_text(plan),
      "18 experts stay in VRAM, 12 slots follow what is used; with RAM 48 of 48 are in memory, "
      "none is read from disk");
  plan.ram.slots_of_class = {10, 9};
  EXPECT_EQ(
      tiers_text(plan),
      "18 experts stay in VRAM, 12 slots follow what is used; with RAM 37 of 48 are in memory, "
      "the others are read from disk");
}

#ifdef HEARTH_EMULATED

CommandResult run_emulated(Strings arguments,
                           std::vector<std::pair<std::string, std::string>> environment = {},
                           const std::string& input = {}) {
  return run_hearth({.arguments = std::move(arguments),
                     .input = input,
                     .environment = std::move(environment),
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
  EXPECT_NE(line_of(gpu, "device").find(" host synchronisations a token, 0 of them within a "),
            std::string::npos)
      << gpu.errors;
  EXPECT_NE(line_of(gpu, "vram").find(" at most of 16.0 MiB, "), std::string::npos) << gpu.errors;
  EXPECT_NE(line_of(gpu, "hit").find("100.0 % of"), std::string::npos) << gpu.errors;
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

// Wherever a device is lost, the program ends with the exit code for that, and one line.
TEST(DeviceFlag, ADeviceThatIsLostEndsTheProgram) {
  const std::string text = temporary_path("lost.txt"), base = temporary_path("lost.logits");
  std::string words;
  for (int i = 0; i < 40; ++i) words += "a b c d ";
  write_file(text, words);
  ASSERT_EQ(run_hearth({"perplexity", "-m", kTiny, "-f", text, "-c", "32", "-t", "1",
                        "--save-all-logits", base, "--device", "none"})
                .exit_code,
            0);
  const Strings commands[] = {
      run_of({}),
      {"chat", "-m", kTiny, "-c", "64", "-t", "1", "-n", "3", "--chat-template", "chatml"},
      {"bench", "-m", kTiny, "-p", "5", "-n", "2", "-r", "1", "-t", "1"},
      {"bench", "-m", kTiny, "--kv", "f16", "-d", "8", "-n", "2", "-r", "1", "-t", "1"},
      {"perplexity", "-m", kTiny, "-f", text, "-c", "32", "-t", "1"},
      {"kld", "-m", kTiny, "--base", base, "-t", "1"}};
  for (Strings command : commands) {
    const std::string name = command.front();
    command.insert(command.end(), {"--device", "emulated0"});
    for (const char* last : {"300", "450"}) {
      const CommandResult result =
          run_emulated(command, {{"HEARTH_EMULATED_LOST", last}}, "Hello\n");
      EXPECT_EQ(result.exit_code, kNoDevice) << name << " " << last << ": " << result.errors;
      EXPECT_NE(result.errors.find("emulated device: lost"), std::string::npos) << result.errors;
    }
  }
}

// Memory that is free but not to be had: fewer experts, and a line that says so. Less of a prompt
// at once would make room, too.
TEST(DeviceFlag, TakesFewerExpertsWhereMemoryIsNotToBeHad) {
  const CommandResult cpu = run_emulated(run_of({"--device", "none"}));
  const std::pair<std::string, std::string> unusable{"HEARTH_EMULATED_UNUSABLE",
                                                     std::to_string(64 * 1024 * 1024 - 700'000)};
  const CommandResult gpu = run_emulated(run_of({"--device", "emulated0", "-b", "8"}), {unusable});
  EXPECT_EQ(gpu.exit_code, 0) << gpu.errors;
  EXPECT_EQ(gpu.output, cpu.output);
  EXPECT_NE(gpu.errors.find("note      emulated: "), std::string::npos) << gpu.errors;
  EXPECT_NE(gpu.errors.find(" experts instead of 48"), std::string::npos) << gpu.errors;
}

TEST(DeviceFlag, ListsDevices) {
  const CommandResult some = run_emulated({"run", "--list-devices"});
  EXPECT_EQ(some.exit_code, 0) << some.errors;
  EXPECT_EQ(some.output, "emulated0: emulated (host, none), 64.0 MiB\n");
}

TEST(DeviceFlag, SaysWhatIsUnknown) {
  expect_error(run_emulated(run_of({"--device", "cuda7"})), kMisused,
               {"--device cuda7: unknown name", "auto, none, emulated0"});
}

// A session that began on a device goes on without it, and the other way round.
TEST(DeviceFlag, SessionsMove) {
  const auto halves = [](const std::string& first, const std::string& second) {
    const std::string path = temporary_path(first + second + ".session");
    const auto half = [&](const std::string& device, Strings more) {
      Strings arguments{"run",  "-m",        kTiny, "-n",           "3",          "-c",
                        "64",   "-t",        "1",   "--temp",       "1",          "--device",
                        device, "--session", path,  "--ignore-eos", "--no-report"};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const CommandResult result = run_emulated(arguments);
      EXPECT_EQ(result.exit_code, 0) << result.errors;
      return result.output;
    };
    const std::string begun = half(first, {"-p", "a b", "-s", "3"});
    return begun + half(second, {});
  };
  const std::string expected = halves("none", "none");
  EXPECT_EQ(halves("none", "emulated0"), expected);
  EXPECT_EQ(halves("emulated0", "none"), expected);
}

TEST(DeviceFlag, BenchFillsACacheAtRandom) {
  const auto hash = [](const std::string& device) {
    const CommandResult result =
        run_emulated({"bench", "-m", kTiny, "--kv", "f16", "-d", "40", "-n", "2", "-r", "1", "-t",
                      "1", "--device", device, "--output", "json"});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    const auto found = nlohmann::json::parse(result.output, nullptr, false);
    return found.is_array() && !found.empty() ? found[0].value("logits_hash_d40", "")
                                              : result.output;
  };
  EXPECT_EQ(hash("emulated0"), hash("none"));
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
    EXPECT_EQ(gpu[i]["expert_hit_rate"], 1.0);
    EXPECT_LE(gpu[i]["vram_peak_bytes"], gpu[i]["vram_planned"]);
    EXPECT_TRUE(cpu[i]["vram_peak_bytes"].is_null());
  }
}

// In chunks what had a slot is told, in steps what was fetched.
TEST(DeviceFlag, TellsWhatTheLinkCarriesForAPrompt) {
  const auto measure = [](const std::string& prompt, const Strings& more) {
    Strings bench{"bench", "-m", kTiny, "-p",   prompt,     "-n",        "0",     "-r",    "1",
                  "-t",    "1",  "-o",  "json", "--device", "emulated0", "--ram", "256MiB"};
    bench.insert(bench.end(), more.begin(), more.end());
    const CommandResult result = run_emulated(bench);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output)[0];
  };
  const auto chunk = measure("12", {});
  EXPECT_EQ(chunk["chunk_resident_share"], 1.0);
  EXPECT_EQ(chunk["experts_staged_per_token"], 0);
  EXPECT_EQ(chunk["link_bytes_per_token"], 0);
  EXPECT_EQ(chunk["host_syncs_inside_steps"], 0);
  EXPECT_TRUE(chunk["expert_hit_rate"].is_null());  // of steps
  EXPECT_EQ(chunk["host_syncs_per_chunk"], 1);
  EXPECT_GT(chunk["launches_per_chunk"], 30);  // of 3 layers, kernel by kernel
  EXPECT_DOUBLE_EQ(chunk["launches_per_chunk"].get<double>(),
                   chunk["launches_per_token"].get<double>() * 12);
  const std::uint64_t half = chunk["vram_planned"].get<std::uint64_t>() -
                             chunk["vram_planned_experts"].get<std::uint64_t>() / 2;
  const Strings fetches{"--vram", std::to_string(half), "--misses", "link"};
  const auto steps = measure("7", fetches);
  EXPECT_TRUE(steps["chunk_resident_share"].is_null());
  EXPECT_TRUE(steps["launches_per_chunk"].is_null());
  EXPECT_GT(steps["link_bytes_per_token"], 0);

  Strings arguments = run_of({"--device", "emulated0"});
  *(std::ranges::find(arguments, "-p") + 1) = "a b a b a b a b a b";
  const CommandResult whole = run_emulated(arguments);
  EXPECT_NE(line_of(whole, "prompt").find(" chunks, 100.0 % of their experts in VRAM"),
            std::string::npos)
      << whole.errors;
  EXPECT_NE(line_of(whole, "prompt").find(" launches and "), std::string::npos) << whole.errors;
  EXPECT_EQ(line_of(whole, "link"), "") << whole.errors;
  Strings halved = run_of({"--device", "emulated0"});
  halved.insert(halved.end(), fetches.begin(), fetches.end());
  const CommandResult fetched = run_emulated(halved);
  EXPECT_EQ(line_of(fetched, "prompt"), "") << fetched.errors;
  EXPECT_NE(fetched.errors.find(" MB a token of the prompt, "), std::string::npos)
      << fetched.errors;
}

// Half of the experts beside the device: who serves them is told, and changes no logits.
TEST(DeviceFlag, MissesAreServedAsWished) {
  const auto bench = [](const Strings& more) {
    Strings arguments{"bench", "-m",       kTiny,       "-p",           "0",     "-n",
                      "4",     "-r",       "1",         "-t",           "1",     "-o",
                      "json",  "--device", "emulated0", "--lane-times", "--ram", "256MiB"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = run_emulated(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output)[0];
  };
  const auto all = bench({});
  const std::uint64_t half = all["vram_planned"].get<std::uint64_t>() -
                             all["vram_planned_experts"].get<std::uint64_t>() / 2;
  const auto link = bench({"--vram", std::to_string(half), "--misses", "link"});
  const auto cpu = bench({"--vram", std::to_string(half), "--misses", "cpu"});
  for (const auto& record : {link, cpu}) {
    EXPECT_EQ(record["logits_hash"], all["logits_hash"]);
    EXPECT_EQ(record["vram_budget_bytes"], half);
    EXPECT_LE(record["vram_peak_bytes"], half);
    EXPECT_LT(record["expert_hit_rate"], 1.0);
    EXPECT_LE(record["launches_per_token"], 3.0);
    EXPECT_EQ(record["host_syncs_inside_steps"], 0);
  }
  EXPECT_GT(link["link_bytes_per_token"], 0);
  EXPECT_EQ(link["cpu_lane_bytes_per_token"], 0);
  EXPECT_EQ(cpu["link_bytes_per_token"], 0);
  EXPECT_GT(cpu["cpu_lane_bytes_per_token"], 0);
  EXPECT_GT(cpu["cpu_lane_ns_per_token"], 0);
  EXPECT_GT(cpu["cpu_wait_ns_per_token"], 0);
  EXPECT_GT(link["link_ns_per_token"], 0);
  EXPECT_GT(link["hits_ns_per_token"], 0);
}

// The host in the place of kernels: the same logits and the same experts on each lane, a wait in
// each layer.
TEST(DeviceFlag, TheHostDecidesAsTheDeviceDoes) {
  const auto bench = [](const Strings& more) {
    Strings arguments{"bench", "-m", kTiny, "-p",   "9",        "-n",        "4",  "-r", "1",
                      "-t",    "1",  "-o",  "json", "--device", "emulated0", "-b", "8"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    CommandResult result = run_emulated(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return std::pair(nlohmann::json::parse(result.output), result.errors);
  };
  const auto all = bench({}).first[1];
  EXPECT_EQ(all["gpu_cache"], nullptr);
  const std::uint64_t half = all["vram_planned"].get<std::uint64_t>() -
                             all["vram_planned_experts"].get<std::uint64_t>() / 2;
  const Strings budget{"--vram", std::to_string(half), "--misses", "link"};
  Strings by_host = budget;
  by_host.insert(by_host.end(), {"--gpu-cache", "host"});
  const auto device = bench(budget), host = bench(by_host);
  constexpr int kLayers = 3, kSteps[] = {2, 4};
  for (const std::size_t test : {0u, 1u}) {
    const auto &of_device = device.first[test], &of_host = host.first[test];
    EXPECT_EQ(of_device["gpu_cache"], "device");
    EXPECT_EQ(of_host["gpu_cache"], "host");
    for (const char* key : {"logits_hash", "expert_hit_rate", "experts_fetched_per_token",
                            "experts_on_cpu_per_token", "link_bytes_per_token", "vram_planned"})
      EXPECT_EQ(of_host[key], of_device[key]) << key;
    EXPECT_GT(of_host["experts_fetched_per_token"], 0);
    EXPECT_EQ(of_device["host_syncs_inside_steps"], 0);
    EXPECT_EQ(of_host["host_syncs_inside_steps"], kSteps[test] * kLayers);
  }
  EXPECT_NE(host.second.find("cache     the host decides, and waits for the GPU in each of 3 "
                             "layers of a step"),
            std::string::npos)
      << host.second;
}

TEST(DeviceFlag, AGpuCacheOfTheHostNeedsADeviceThatHasOne) {
  const Strings host{"--gpu-cache", "host"};
  Strings none{"--device", "none"};
  none.insert(none.end(), host.begin(), host.end());
  expect_error(run_emulated(run_of(none)), kMisused,
               {"--gpu-cache host has no effect where no GPU computes"});
  expect_error(run_emulated(run_of({"--gpu-cache", "disk"})), kMisused, {"--gpu-cache"});
  const CommandResult all =
      run_emulated(run_of({"--gpu-cache", "host", "--device", "emulated0", "--no-report"}));
  EXPECT_EQ(all.exit_code, 0) << all.errors;
  EXPECT_NE(all.errors.find("--gpu-cache has no effect: all experts are in VRAM"),
            std::string::npos)
      << all.errors;
}

TEST(DeviceFlag, LaneTimesNeedADevice) {
  expect_error(run_emulated({"bench", "-m", kTiny, "-p", "0", "-n", "1", "-t", "1", "--device",
                             "none", "--lane-times"}),
               kMisused, {"--lane-times is of a GPU"}, Before::kReport);
  expect_error(
      run_emulated({"bench", "-m", kTiny, "-p", "0", "-n", "1", "-t", "1", "-b", "8", "--device",
                    "emulated0", "--vram", "600KiB", "--gpu-cache", "host", "--lane-times"}),
      kMisused, {"--gpu-cache host has none"}, Before::kReport);
}

TEST(DeviceFlag, MissesNeedADevice) {
  expect_error(run_emulated(run_of({"--device", "none", "--misses", "cpu"})), kMisused,
               {"--misses cpu has no effect where no GPU computes"});
  const CommandResult all = run_emulated(run_of({"--misses", "link", "--no-report"}));
  EXPECT_EQ(all.exit_code, 0) << all.errors;
  EXPECT_NE(all.errors.find("--misses has no effect: all experts are in VRAM"), std::string::npos);
}

#endif

}  // namespace
}  // namespace hearth::tools::testing
