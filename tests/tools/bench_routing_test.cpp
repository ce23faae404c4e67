// hearth bench with the experts of a trace instead of the routers' choices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/tools/support/expect_error.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
const std::string kSameShape = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-opt.gguf";
const std::string kDemo = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

CommandResult bench(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> arguments{"bench", "-m", model, "-p",           "8",  "-n",
                                     "4",     "-r", "2",   "--expert-ram", "50%"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth(std::move(arguments));
}

// Of two tests, 8 tokens and 4, each with a warm-up and two repetitions: 36 tokens.
std::string recorded_trace(const std::string& name) {
  const std::string trace = temporary_path(name);
  const CommandResult result = bench(kTiny, {"--trace", trace});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return trace;
}

TEST(BenchRouting, SaysInEveryRecordWhereTheExpertsCameFrom) {
  const std::string trace = recorded_trace("forced.trace");
  const CommandResult forced = bench(kTiny, {"--routing", trace, "-o", "json"});
  ASSERT_EQ(forced.exit_code, 0) << forced.errors;
  EXPECT_THAT(forced.errors, HasSubstr("and not what the routers choose"));
  EXPECT_THAT(forced.errors, Not(HasSubstr("its routing is used all the same")));
  for (const Json& record : Json::parse(forced.output)) {
    EXPECT_EQ(record["routing"], "forced (trace forced.trace, recorded)");
    EXPECT_EQ(record["prefetch"], false);
  }
  const CommandResult table = bench(kTiny, {"--routing", trace});
  EXPECT_THAT(table.output, HasSubstr("| forced (trace forced.trace, recorded) |"));
  const CommandResult free = bench(kTiny, {"-o", "jsonl"});
  EXPECT_THAT(free.output, HasSubstr("\"routing\":\"router\""));
  EXPECT_THAT(bench(kTiny, {}).output, Not(HasSubstr("routing")));
}

TEST(BenchRouting, TakesATraceOfAnotherModelOfTheSameShapeAndSaysSo) {
  const CommandResult other = bench(kSameShape, {"--routing", recorded_trace("other.trace")});
  EXPECT_EQ(other.exit_code, 0) << other.errors;
  EXPECT_THAT(other.errors, HasSubstr("its routing is used all the same"));
}

TEST(BenchRouting, RefusesWhatCannotBeForced) {
  const std::string trace = recorded_trace("refused.trace");
  expect_error(bench(kTiny, {"--routing", trace, "-d", "100"}), kFailed,
               {trace, "has 36 tokens, the tests need 108"}, Before::kReport);
  expect_error(bench(kDemo, {"--routing", trace}), kFailed, {trace, "is of a model of 3 layers"},
               Before::kReport);
  expect_error(bench(kTiny, {"--routing", kTiny}), kFailed, {kTiny}, Before::kReport);
  expect_error(bench(kTiny, {"--routing", trace, "--prefetch", "on"}), kMisused,
               {"--prefetch on asks the routers"});
}

}  // namespace
}  // namespace hearth::tools::testing
