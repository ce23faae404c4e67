// The subcommands that judge and measure a model: logits, perplexity and bench.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/tools/support/run_command.h"
#include "tools/hearth/npy.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
const std::string kDemo = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kProse = HEARTH_SOURCE_DIR "/models/eval/prose.txt";

CommandResult run_ok(std::vector<std::string> arguments) {
  CommandResult result = run_hearth(std::move(arguments));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return result;
}

std::string last_line(const std::string& text) {
  const std::string trimmed = text.substr(0, text.find_last_not_of('\n') + 1);
  return trimmed.substr(trimmed.rfind('\n') + 1);
}

TEST(LogitsCommand, WritesTheSameFilesAtOnceAndInSteps) {
  const std::string at_once = temporary_path("once.npy"), singly = temporary_path("singly.npy");
  const std::string chosen = temporary_path("once.json"), again = temporary_path("singly.json");
  const std::vector<std::string> common{"logits", "-m", kTiny, "--token-ids", "10,131,47,2"};
  auto arguments = common;
  arguments.insert(arguments.end(), {"-o", at_once, "--experts", chosen});
  const CommandResult first = run_ok(arguments);
  arguments = common;
  arguments.insert(arguments.end(), {"-o", singly, "--experts", again, "--step"});
  const CommandResult second = run_ok(arguments);

  EXPECT_EQ(read_file(at_once), read_file(singly));
  EXPECT_EQ(read_file(chosen), read_file(again));
  EXPECT_EQ(last_line(first.errors), last_line(second.errors));
  EXPECT_THAT(last_line(first.errors), HasSubstr("4 tokens x 160, hash "));
  const NpyReader array(at_once);
  EXPECT_EQ(array.rows(), 4u);
  EXPECT_EQ(array.columns(), 160u);
  const Json experts = Json::parse(read_file(chosen));
  EXPECT_EQ(experts["n_expert_used"], 4);
  EXPECT_EQ(experts["layers"], Json::array({0, 1, 2}));
  EXPECT_EQ(experts["ids"]["2"].size(), 4u);
  for (const Json& weights : experts["weights"]["1"]) {
    double sum = 0;
    for (const double weight : weights) sum += weight;
    EXPECT_NEAR(sum, 1, 1e-6);
  }
}

TEST(LogitsCommand, RefusesTwoSourcesOfTokensAndTokensThatAreNone) {
  const std::string out = temporary_path("refused.npy");
  EXPECT_EQ(run_hearth({"logits", "-m", kTiny, "--token-ids", "1", "-p", "a", "-o", out}).exit_code,
            2);
  const CommandResult gap = run_hearth({"logits", "-m", kTiny, "--token-ids", "1,,2", "-o", out});
  EXPECT_EQ(gap.exit_code, 2);
  EXPECT_NE(gap.errors.find("--token-ids: '' is not a whole number"), std::string::npos)
      << gap.errors;
  const CommandResult outside =
      run_hearth({"logits", "-m", kTiny, "--token-ids", "160", "-o", out});
  EXPECT_EQ(outside.exit_code, 1);
  EXPECT_THAT(outside.errors, HasSubstr("token 160 is outside the vocabulary"));
}

TEST(PerplexityCommand, PrintsInTheFormOfLlamaCpp) {
  const CommandResult result =
      run_ok({"perplexity", "-m", kDemo, "-f", kProse, "-c", "128", "--chunks", "3"});
  EXPECT_THAT(result.output,
              MatchesRegex("\\[1\\][0-9.]+,\\[2\\][0-9.]+,\\[3\\][0-9.]+,\n"
                           "Final estimate: PPL = [0-9]+\\.[0-9]{4} \\+/- [0-9]+\\.[0-9]{5}\n"));
}

std::vector<std::string> bench(std::vector<std::string> more, std::string generate = "4",
                               std::string share = "50%") {
  std::vector<std::string> arguments{"bench",  "-m", kTiny, "-p",           "8",  "-n",
                                     generate, "-r", "2",   "--expert-ram", share};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(BenchCommand, GivesRecordsThatAddUp) {
  const Json records =
      Json::parse(run_ok(bench({"-o", "json", "-pg", "8,4", "-d", "0,16"})).output);
  ASSERT_EQ(records.size(), 6u);
  for (const Json& record : records) {
    SCOPED_TRACE(record.dump());
    const double tokens = record["n_prompt"].get<double>() + record["n_gen"].get<double>();
    ASSERT_EQ(record["samples_ns"].size(), 2u);
    const double first = record["samples_ns"][0], second = record["samples_ns"][1];
    EXPECT_NEAR(record["avg_ns"].get<double>(), (first + second) / 2, 1);
    EXPECT_NEAR(record["samples_ts"][0].get<double>(), tokens * 1e9 / first, 1e-3 * tokens);
    EXPECT_NEAR(record["read_bytes_per_token"].get<double>() * tokens * 2,
                record["bytes_read"].get<double>(), 1);
    EXPECT_LE(record["stall_ns"].get<double>(), first + second);
    EXPECT_EQ(record["cache_state"], "warm");
    EXPECT_GE(record["expert_hit_rate"].get<double>(), 0);
    EXPECT_LE(record["expert_hit_rate"].get<double>(), 1);
  }
}

TEST(BenchCommand, ReadsEveryExpertAnewWhenCold) {
  const Json warm = Json::parse(run_ok(bench({"-o", "jsonl"}, "0", "100%")).output);
  const Json cold = Json::parse(run_ok(bench({"-o", "jsonl", "--cold"}, "0", "100%")).output);
  EXPECT_LT(warm["bytes_read"], cold["bytes_read"]);
  EXPECT_EQ(cold["cache_state"], "cold");
  EXPECT_EQ(cold["logits_hash"], warm["logits_hash"]);
  EXPECT_EQ(cold["expert_hit_rate"], 0);  // each layer is visited once, in one pass
}

TEST(BenchCommand, PrintsATableAndCsv) {
  const CommandResult table = run_ok(bench({}));
  EXPECT_THAT(table.output, StartsWith("| model "));
  EXPECT_THAT(table.output, HasSubstr(" pp8 |"));
  EXPECT_THAT(table.errors, HasSubstr("random tokens"));
  const CommandResult csv = run_ok(bench({"-o", "csv"}));
  EXPECT_THAT(csv.output, StartsWith("build_commit,cpu_info,"));
  EXPECT_EQ(std::count(csv.output.begin(), csv.output.end(), '\n'), 3);
}

TEST(BenchCommand, RefusesATextThatIsTooShort) {
  const std::string text = temporary_path("short.txt");
  write_file(text, "hello");
  const CommandResult result = run_hearth(bench({"-f", text}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("give a longer text"));
}

TEST(PerplexityCommand, ChunksThatAreTooShortAreNamed) {
  const CommandResult result = run_hearth({"perplexity", "-m", kDemo, "-f", kProse, "-c", "3"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("chunks of 3 tokens are too short to be scored; give at "
                                       "least 4 with --ctx-size"));
}

TEST(KldCommand, ARunIsNoDistanceFromItselfAndSomeFromAnother) {
  const std::string base = temporary_path("base.logits");
  run_ok({"perplexity", "-m", kDemo, "-f", kProse, "-c", "128", "--chunks", "3",
          "--save-all-logits", base});
  const auto mean = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"kld", "-m", kDemo, "--base", base};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const std::string text = run_ok(arguments).output;
    EXPECT_THAT(text, HasSubstr("tokens                     189\n"));  // 3 x (128 - 1 - 64)
    const std::size_t at = text.find("mean KLD");
    return std::stod(text.substr(at + 8));
  };
  // Up to the rounding of the file: codes are exact to 1.3e-4.
  EXPECT_NEAR(mean({"--expert-ram", "30%"}), 0, 1.3e-4);

  const std::string brief = temporary_path("brief.logits"), folder = temporary_path("");
  write_file(brief, "short");
  const std::string no_logits = brief + ": is no file of log-probabilities";
  EXPECT_THAT(run_hearth({"kld", "-m", kDemo, "--base", brief}).errors, HasSubstr(no_logits));
  EXPECT_THAT(run_hearth({"kld", "-m", kDemo, "--base", folder}).errors,
              HasSubstr(folder + ": is a directory; give a file that perplexity"));

  const CommandResult narrow = run_hearth({"kld", "-m", kDemo, "--base", base, "-c", "64"});
  EXPECT_EQ(narrow.exit_code, 2);
  EXPECT_THAT(narrow.errors, HasSubstr("--ctx-size 64: " + base + " has chunks of 128 tokens"));

  const CommandResult other = run_hearth({"kld", "-m", kTiny, "--base", base});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.errors, HasSubstr("over a vocabulary of 4096 tokens, but the model has 160"));
}

}  // namespace
}  // namespace hearth::tools::testing
