// hearth bench --kv: records that add up, a table for people, and no flag without effect.
#include "tools/hearth/bench_kv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/sanitized.h"
#include "tests/tools/support/expect_error.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;
using kernels::KvFormat;
using ::testing::HasSubstr;

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
const std::string kDemo = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kProse = HEARTH_SOURCE_DIR "/models/eval/prose.txt";

std::vector<std::string> bench_kv_of(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> arguments{"bench", "-m", model, "-t", "2", "--kv"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Json records(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"-o", "json"});
  const CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return Json::parse(result.output);
}

TEST(KvPairs, AreReadFromALine) {
  EXPECT_EQ(
      parse_kv_pairs("q8_0/q4_0,f16"),
      (std::vector<KvPair>{{KvFormat::kQ8_0, KvFormat::kQ4_0}, {KvFormat::kF16, KvFormat::kF16}}));
  EXPECT_EQ(parse_kv_pairs("all").size(), kernels::kKvFormatCount);
  EXPECT_EQ(parse_kv_pairs("all,q8_0/q4_0").size(), kernels::kKvFormatCount + 1);
  for (const char* bad : {"", "q8_0/", "q9_0", "q8_0//q8_0", "f16,", "f16,f16/f16", "all,f16"})
    EXPECT_THROW(parse_kv_pairs(bad), Error) << bad;
}

TEST(BenchKv, HasARowForEveryFormat) {
  const Json rows = records(bench_kv_of(kTiny, {"all", "-d", "0,100", "-n", "2", "-r", "2"}));
  ASSERT_EQ(rows.size(), kernels::kKvFormatCount);
  std::map<std::string, double> bytes;
  for (const Json& row : rows) {
    SCOPED_TRACE(row.dump());
    EXPECT_EQ(row["type_k"], row["type_v"]);
    EXPECT_GT(row["tg_ts_d0"], 0);
    EXPECT_GT(row["tg_ts_d100"], 0);
    EXPECT_GE(row["n_ctx"], 102);
    EXPECT_EQ(row["fill"], "random");
    EXPECT_TRUE(row["kld_mean"].is_null());
    EXPECT_TRUE(row["expert_slots_above_f16"].is_null());
    const auto format = *kernels::parse_kv_format(row["type_k"].get<std::string>());
    EXPECT_EQ(row["kv_rotation"], kernels::traits(format).quantized());
    bytes[row["type_k"]] = row["kv_bytes_per_token"];
  }
  EXPECT_EQ(bytes["f32"], 2 * bytes["f16"]);
  EXPECT_EQ(bytes["q8_0"] * 32, bytes["f16"] * 17);  // 34 bytes for 32 values
}

// What is timed is computed after the same positions, whatever they hold and however often.
TEST(BenchKv, RepetitionsBeginAtTheSameDepth) {
  const auto hash = [&](const std::string& ubatch, const std::string& text) {
    std::vector<std::string> flags{"q8_0", "--kv-tail", "16", "-c", "256", "-d",
                                   "70",   "-n",        "6",  "-r", "2",   "--ubatch-size",
                                   ubatch, "--fill"};
    flags.push_back(text.empty() ? "random" : "prefill");
    if (!text.empty()) flags.insert(flags.end(), {"-f", text, "--chunks", "1"});
    return records(bench_kv_of(text.empty() ? kTiny : kDemo, flags))[0]["logits_hash_d70"];
  };
  // With steps of 4 a session cannot go back by 6 tokens: all is filled again.
  EXPECT_EQ(hash("4", ""), hash("64", ""));
  EXPECT_EQ(hash("4", kProse), hash("64", kProse));
}

TEST(BenchKv, ComparesPredictionsOnAText) {
  const Json rows = records(bench_kv_of(kDemo, {"f32,q8_0,q4_0", "-n", "0", "-f", kProse,
                                                "--chunks", "2", "-c", "256", "--kv-tail", "0"}));
  // Log-probabilities of at most 16 are kept to 24 bits.
  EXPECT_NEAR(rows[0]["kld_mean"].get<double>(), 0, 1e-6);
  EXPECT_EQ(rows[0]["same_top"], 1);
  EXPECT_GT(rows[1]["kld_mean"], 0);
  // The mean of so few tokens hangs on those in which another expert is chosen.
  EXPECT_GT(rows[2]["kld_median"], 3 * rows[1]["kld_median"].get<double>());
  for (const Json& row : rows) {
    EXPECT_EQ(row["kld_tokens"], 2 * 127);
    EXPECT_GE(row["kld_999"], row["kld_median"]);
    EXPECT_FALSE(row.contains("tg_ts_d0"));
  }
}

TEST(BenchKv, SmallerFormatsLeaveRoomForExperts) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "sanitizers hold shadow memory";
  const Json rows = records(
      bench_kv_of(kTiny, {"f16,q4_0,f32", "-n", "1", "-r", "1", "-d", "20000", "--ram", "80MiB"}));
  EXPECT_EQ(rows[0]["expert_slots_above_f16"], 0);
  EXPECT_GE(rows[1]["expert_slots_above_f16"], 0);
  EXPECT_LE(rows[2]["expert_slots_above_f16"], 0);
  EXPECT_LT(rows[1]["kv_bytes"], rows[0]["kv_bytes"]);
}

TEST(BenchKv, SaysWhichPairsDoNotFit) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "sanitizers hold shadow memory";
  const CommandResult result = run_hearth(bench_kv_of(
      kTiny, {"q4_0,f32", "-n", "1", "-r", "1", "-d", "60000", "--ram", "56MiB", "-o", "jsonl"}));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.errors, HasSubstr("f32/f32 does not fit"));
  EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 2);
}

TEST(BenchKv, PrintsATableThatSaysWhatItDid) {
  const CommandResult result =
      run_hearth(bench_kv_of(kTiny, {"f16,q5_1/q4_1", "-d", "40", "-n", "1", "-r", "1"}));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("| q5_1/q4_1     |  128 |"));
  EXPECT_THAT(result.output, HasSubstr("t/s @ d40"));
  EXPECT_THAT(result.errors, HasSubstr("random keys and values"));
}

// Of latents of 32 + 16 channels only formats without blocks hold anything; one line each says so.
TEST(BenchKv, LeavesOutWhatAModelCannotHold) {
  const std::string latent = HEARTH_SOURCE_DIR "/tests/golden/deepseek2-lite.gguf";
  const CommandResult all =
      run_hearth(bench_kv_of(latent, {"all", "-n", "1", "-r", "1", "-o", "jsonl"}));
  EXPECT_EQ(all.exit_code, 0) << all.errors;
  EXPECT_EQ(std::count(all.output.begin(), all.output.end(), '\n'), 3) << all.output;
  std::size_t left_out = 0;
  for (std::size_t at = 0; (at = all.errors.find(" is left out: ", at)) != all.errors.npos; ++at)
    ++left_out;
  EXPECT_EQ(left_out, kernels::kKvFormatCount - 3) << all.errors;
  expect_error(run_hearth(bench_kv_of(latent, {"kvarn4,q8_0", "-n", "1"})), kFailed,
               {"cannot be kept"}, Before::kReport);
}

TEST(BenchKv, RefusesWhatHasNoEffect) {
  const auto refused = [&](std::vector<std::string> flags, std::string_view part) {
    expect_error(run_hearth(bench_kv_of(kTiny, std::move(flags))), kMisused, {part});
  };
  refused({"all", "-p", "8"}, "--n-prompt");
  refused({"all", "--cold"}, "--cold");
  refused({"all", "-ctk", "q8_0"}, "--cache-type-k");
  refused({"all", "--trace", "x"}, "--trace");
  refused({"all", "--chunks", "2"}, "--chunks");
  refused({"all", "-n", "0"}, "nothing to measure");
  refused({"all", "-n", "0", "-f", kProse, "-d", "4"}, "--n-depth");
  refused({"all", "-c", "64", "-d", "64"}, "--ctx-size 64");
  refused({"f16,bf16", "--kv-tail", "0"}, "--kv-tail");
  refused({"f32", "--kv-rotation", "off"}, "--kv-rotation");
  refused({"q3_0"}, "there is no format 'q3_0'");
  expect_error(run_hearth({"bench", "-m", kTiny, "--fill", "prefill"}), kMisused, {"--fill"});
}

}  // namespace
}  // namespace hearth::tools::testing
