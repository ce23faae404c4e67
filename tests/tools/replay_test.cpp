// hearth replay judges policies on a trace, and hearth trace makes one up and measures it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "profiler/cache_policy.h"
#include "profiler/synthetic_trace.h"
#include "profiler/trace_file.h"
#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

// Of the shape of the demo model.
std::string made_up_trace(const std::string& name, std::vector<std::string> flags = {}) {
  const std::string path = temporary_path(name);
  std::vector<std::string> arguments = {"trace",     "synth", "-o",      path, "--layers", "7",
                                        "--experts", "32",    "--top-k", "4",  "-n",       "200"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.output, "");
  return path;
}

Json replay_json(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "replay");
  arguments.push_back("--json");
  const CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return Json::parse(result.output);
}

const Json& row(const Json& budget, const std::string& policy) {
  for (const Json& row : budget["policies"])
    if (row["policy"] == policy) return row;
  throw std::runtime_error("no row of " + policy);
}

TEST(TraceSynth, WritesWhatTheGeneratorMakes) {
  const std::string path = made_up_trace(
      "synth.trace",
      {"--skew", "2", "--mood", "1:5", "--mood", "2:50", "--seed", "9", "--workload", "made up"});
  profiler::SyntheticRouting routing = *profiler::find_synthetic_preset("qwen3-30b-a3b");
  routing.layers = 7, routing.experts = 32, routing.experts_per_row = 4;
  routing.skew = 2, routing.seed = 9;
  routing.moods = {{1, 5}, {2, 50}};
  const profiler::RoutingTrace expected = profiler::make_synthetic_trace(routing, 200, "made up");
  const profiler::RoutingTrace written = profiler::read_trace(path).trace;
  EXPECT_EQ(written.header().workload, "made up");
  ASSERT_EQ(written.steps(), expected.steps());
  for (std::size_t step = 0; step < written.steps(); ++step)
    for (std::size_t layer = 0; layer < 7; ++layer)
      EXPECT_TRUE(std::ranges::equal(written.decision(step, layer).experts,
                                     expected.decision(step, layer).experts));
}

TEST(TraceSynth, RefusesWhatMakesNoSense) {
  const std::string path = temporary_path("refused.trace");
  const auto synth = [&path](std::vector<std::string> flags) {
    std::vector<std::string> arguments = {"trace", "synth", "-o", path};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_hearth(arguments);
  };
  expect_error(synth({"--preset", "gpt"}), kMisused, {"--preset", "qwen3-30b-a3b"});
  expect_error(synth({"--mood", "3"}), kMisused, {"--mood", "'3'", "1.5:100"});
  expect_error(synth({"--top-k", "200"}), kMisused, {"top-k"});
  expect_error(synth({"--skew", "99"}), kMisused, {"16 octaves"});
  expect_error(synth({"--topics", "3"}), kMisused, {"--topic-tokens"});
  expect_error(synth({"--topic-tokens", "30"}), kMisused, {"--topics"});
  expect_error(synth({"-n", "0"}), kMisused, {"token"});
}

TEST(TraceStats, TellsOfAllLayers) {
  const std::string path = made_up_trace("stats.trace");
  const CommandResult text = run_hearth({"trace", "stats", path});
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_NE(text.output.find("200 tokens, 7 layers, 32 experts of which 4 are used"),
            std::string::npos)
      << text.output;
  const CommandResult result = run_hearth({"trace", "stats", path, "--json"});
  const Json json = Json::parse(result.output);
  ASSERT_EQ(json["layers"].size(), 7u);
  for (const Json& layer : json["layers"]) {
    std::uint64_t uses = 0;
    for (const Json& count : layer["uses"]) uses += count.get<std::uint64_t>();
    EXPECT_EQ(uses, 200u * 4);
    EXPECT_EQ(layer["lru_hit_rate"].size(), 32u);
  }
}

TEST(Replay, JudgesEveryPolicyAtEveryBudget) {
  const Json json = replay_json({made_up_trace("all.trace"), "--budget", "20%,50%"});
  const Json& trace = json["traces"][0];
  EXPECT_EQ(trace["tokens_learned"], 100);
  EXPECT_EQ(trace["tokens_judged"], 100);
  ASSERT_EQ(trace["budgets"].size(), 2u);
  for (const Json& budget : trace["budgets"]) {
    EXPECT_EQ(budget["policies"].size(), profiler::policy_names().size() + 2);
    const double bound = row(budget, "belady")["hit_rate"];
    double best = 0;
    for (const std::string_view name : profiler::policy_names()) {
      const Json& policy = row(budget, std::string(name));
      EXPECT_LE(policy["hit_rate"], bound);
      EXPECT_NEAR(policy["below_belady"], bound - policy["hit_rate"].get<double>(), 1e-9);
      // 7 layers x 4 experts a token.
      EXPECT_NEAR(policy["misses_per_token"], 28 * (1 - policy["hit_rate"].get<double>()), 1e-9);
      best = std::max(best, policy["hit_rate"].get<double>());
    }
    const Json& chosen = row(budget, budget["chosen"]);
    EXPECT_NEAR(budget["below_best"], best - chosen["hit_rate"].get<double>(), 1e-9);
  }
  EXPECT_EQ(trace["budgets"][1]["slots"], 112);
  EXPECT_GT(row(trace["budgets"][1], "lru")["hit_rate"],
            row(trace["budgets"][0], "lru")["hit_rate"]);
}

TEST(Replay, ChoosesAmongThePoliciesAskedFor) {
  const Json json =
      replay_json({made_up_trace("some.trace"), "--policy", "pin+lru", "--budget", "75%"});
  const Json& budget = json["traces"][0]["budgets"][0];
  EXPECT_EQ(budget["policies"].size(), 3u);
  EXPECT_EQ(budget["chosen"], "pin+lru");
  EXPECT_EQ(budget["below_best"], 0);
}

// Of ten tokens it misses the first one and, below, finds at most the nine others.
TEST(Replay, ColdMemoryMissesTheFirstToken) {
  const std::string path = made_up_trace("cold.trace");
  const auto hits = [&path](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {path, "--budget", "60%", "--policy", "lru", "-n", "10"});
    const Json json = replay_json(flags);
    EXPECT_EQ(json["traces"][0]["tokens_judged"], 10);
    return row(json["traces"][0]["budgets"][0], "lru")["hit_rate"].get<double>();
  };
  EXPECT_LE(hits({"--cold"}), 0.9);
  EXPECT_LT(hits({"--cold"}), hits({}));
}

TEST(Replay, WithAModelSizesAreThoseOfItsExperts) {
  const std::string path = made_up_trace("sizes.trace");
  const Json json = replay_json({path, "-m", kModel, "--budget", "8MiB,100%", "--policy", "lru"});
  const Json& small = json["traces"][0]["budgets"][0];
  EXPECT_LE(small["memory_bytes"], 8 << 20);
  EXPECT_GT(small["memory_bytes"], 7 << 20);
  const Json& lru = row(small, "lru");
  // Every miss reads 110,592 or 127,488 bytes.
  const double misses = lru["misses_per_token"], bytes = lru["bytes_per_token"];
  EXPECT_GE(bytes, misses * 110592);
  EXPECT_LE(bytes, misses * 127488);
  EXPECT_EQ(json["traces"][0]["budgets"][1]["slots"], 224);
}

// The more is missed, the slower; on a card what is missed is not on disk.
TEST(Replay, WithAMachineSpeedsArePredicted) {
  const std::string path = made_up_trace("speeds.trace");
  for (const char* machine : {"ddr5-5600-dual", "rtx3060-12g-ddr4"}) {
    const Json json =
        replay_json({path, "-m", kModel, "--machine", machine, "--budget", "20%,60%"});
    const Json& budgets = json["traces"][0]["budgets"];
    const double few = row(budgets[0], "lru")["tokens_per_second"];
    const double many = row(budgets[1], "lru")["tokens_per_second"];
    EXPECT_GT(few, 0);
    EXPECT_GT(many, few);
    const bool gpu = std::string(machine).starts_with("rtx");
    EXPECT_NE(json["traces"][0]["speed_basis"].get<std::string>().find(gpu ? "a miss is in RAM"
                                                                           : "a miss is on disk"),
              std::string::npos);
  }
}

TEST(Replay, TablesNameTheChoice) {
  const CommandResult result =
      run_hearth({"replay", made_up_trace("tables.trace"), "--budget", "30%"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  for (const char* part : {"30%: 67 of 224 experts", "hit rate", "to Belady", "belady", "static",
                           "points below the best"})
    EXPECT_NE(result.output.find(part), std::string::npos) << part << "\n" << result.output;
  const CommandResult summary =
      run_hearth({"replay", made_up_trace("summary.trace"), "--budget", "30%", "--summary"});
  EXPECT_NE(summary.output.find("farthest below the best policy"), std::string::npos);
}

TEST(Replay, CsvHasARowForEachPolicy) {
  const CommandResult result =
      run_hearth({"replay", made_up_trace("csv.trace"), "--budget", "30%,40%", "--csv"});
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(result.output, '\n')),
            1 + 2 * (profiler::policy_names().size() + 2));
}

std::string page_of_two_traces(const std::vector<std::string>& flags = {}) {
  const std::string page = temporary_path("replay.html");
  std::vector<std::string> arguments = {"replay", "--html", page, "--summary"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  arguments.push_back(made_up_trace("<script>.trace"));
  arguments.push_back(made_up_trace("second.trace", {"--seed", "2", "--workload", "second"}));
  const CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return page;
}

TEST(ReplayPage, HoldsAllItNeeds) {
  const std::string html = read_file(page_of_two_traces());
  EXPECT_EQ(html.find("{{"), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  const std::string open = "id=\"data\">";
  const std::size_t begin = html.find(open) + open.size();
  const Json json = Json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  ASSERT_EQ(json["traces"].size(), 2u);
  EXPECT_GE(json["traces"][1]["budgets"].size(), 10u);  // points of a curve
}

TEST(ReplayPage, ItsScriptsDrawWhatWasReplayed) {
  if (std::system("node --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "there is no node";
  const std::string page = page_of_two_traces({"--budget", "20%,60%", "-m", kModel});
  const std::string seen_path = temporary_path("seen.json");
  const std::string command = "node " HEARTH_SOURCE_DIR "/tests/tools/support/visit_replay.js '" +
                              page + "' > '" + seen_path + "' 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  ASSERT_TRUE(Json::accept(read_file(seen_path))) << read_file(seen_path);
  const Json seen = Json::parse(read_file(seen_path));
  const std::size_t policies = profiler::policy_names().size() + 2;
  EXPECT_EQ(seen["traces"].size(), 2u);
  EXPECT_EQ(seen["measures"].size(), 5u);  // no speeds without a machine
  EXPECT_EQ(seen["plain"]["curves"].size(), policies);
  EXPECT_EQ(seen["plain"]["legend"].size(), policies);
  EXPECT_EQ(seen["plain"]["policies"].size(), 1 + policies);
  EXPECT_EQ(seen["plain"]["choices"].size(), 3u);
  for (const char* view : {"plain", "chosen", "second"})
    for (const std::string curve : seen[view]["curves"])
      EXPECT_EQ(curve.find("NaN"), std::string::npos) << view << ' ' << curve;
  EXPECT_NE(seen["chosen"]["curves"], seen["plain"]["curves"]);
  EXPECT_NE(seen["chosen"]["reason"], seen["plain"]["reason"]);
  EXPECT_NE(seen["readout"].get<std::string>().find("lru"), std::string::npos);
  EXPECT_NE(seen["second"]["subtitle"].get<std::string>().find("of second"), std::string::npos);
}

TEST(Replay, RefusesWhatMakesNoSense) {
  const std::string path = made_up_trace("flags.trace");
  const auto refused = [&path](std::vector<std::string> flags, int code,
                               const std::vector<std::string_view>& parts) {
    flags.insert(flags.begin(), {"replay", path});
    expect_error(run_hearth(flags), code, parts);
  };
  refused({"--policy", "lruu"}, kMisused, {"--policy", "did you mean lru?", "pin+lru"});
  refused({"--budget", "1GiB"}, kMisused, {"--budget", "1GiB", "--model"});
  refused({"--budget", "10%,,20%"}, kMisused, {"--budget", "empty"});
  refused({"--budget", "120%"}, kMisused, {"120%"});
  refused({"--machine", "x.toml"}, kMisused, {"--machine", "--model"});
  refused({"--csv", "--json"}, kMisused, {"--csv", "--json"});
  refused({"--cold", "--seed-profile", "x"}, kMisused, {"--cold", "--seed-profile"});
  refused({"--learn", "30%", "--seed-profile", "x"}, kMisused, {"--learn", "--seed-profile"});
  refused({"--learn", "3MiB"}, kMisused, {"--learn", "50%"});
  refused({"--seed-profile", "/nowhere/x.toml"}, kFailed, {"/nowhere/x.toml"});
  refused({"-m", kModel, "--budget", "10KiB"}, kFailed, {"least that works", "--budget"});
  expect_error(run_hearth({"replay"}), kMisused, {"TRACES"});
  expect_error(run_hearth({"replay", "/nowhere/x.trace"}), kFailed, {"/nowhere/x.trace"});
  expect_error(run_hearth({"replay", made_up_trace("one.trace", {"--seed", "3"}), "-m",
                           HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf"}),
               kFailed, {"one.trace", "7 layers with 32 experts of which 4"});
}

TEST(Replay, ATraceOfOneStepIsTooShort) {
  const std::string path = temporary_path("short.trace");
  ASSERT_EQ(run_hearth({"trace", "synth", "-o", path, "-n", "1"}).exit_code, 0);
  expect_error(run_hearth({"replay", path}), kFailed, {"short.trace", "1 step"});
}

}  // namespace
}  // namespace hearth::tools::testing
