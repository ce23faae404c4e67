// hearth bench with the experts of a trace instead of the routers' choices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/runtime/support/model_copy.h"
#include "tests/tools/support/expect_error.h"

namespace hearth::tools::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
const std::string kDemo = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

CommandResult bench(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> arguments{"bench", "-m", model, "-p",           "8",  "-n",
                                     "0",     "-r", "2",   "--expert-ram", "50%"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth(std::move(arguments));
}

// Of a test of 8 tokens, with a warm-up and two repetitions.
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
  EXPECT_THAT(forced.errors, Not(HasSubstr("random tokens visit experts"))) << "they visit none";
  const Json record = Json::parse(forced.output)[0];
  EXPECT_EQ(record["routing"], "forced (trace forced.trace, recorded)");
  EXPECT_EQ(record["prefetch"], false);
  const CommandResult table = bench(kTiny, {"--routing", trace});
  EXPECT_THAT(table.output, HasSubstr("| forced (trace forced.trace, recorded) |"));
  EXPECT_THAT(bench(kTiny, {"-o", "jsonl"}).output, HasSubstr("\"routing\":\"router\""));
}

TEST(BenchRouting, TakesATraceOfAnotherModelOfTheSameShapeAndSaysSo) {
  const std::string model = temporary_path("other.gguf");
  hearth::testing::ModelCopy copy(kTiny);
  copy.set("general.name", std::string("another"));
  copy.write(model);
  const CommandResult other = bench(model, {"--routing", recorded_trace("other.trace")});
  EXPECT_EQ(other.exit_code, 0) << other.errors;
  EXPECT_THAT(other.errors, HasSubstr("its routing is used all the same"));
}

// Keys and values that nobody computed were not routed either.
TEST(BenchRouting, ATraceIsAsLongAsWhatIsComputed) {
  const std::string trace = recorded_trace("behind.trace");
  const CommandResult result =
      bench(kTiny, {"--routing", trace, "-d", "100", "--fill", "random", "-o", "json"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(Json::parse(result.output)[0]["test"], "pp8 @ d100");
}

TEST(BenchRouting, RefusesWhatCannotBeForced) {
  const std::string trace = recorded_trace("refused.trace");
  expect_error(bench(kTiny, {"--routing", trace, "-d", "100"}), kFailed,
               {trace, "has 24 tokens, the tests need 108"}, Before::kReport);
  expect_error(bench(kDemo, {"--routing", trace}), kFailed, {trace, "is of a model of 3 layers"},
               Before::kReport);
  expect_error(bench(kTiny, {"--routing", kTiny}), kFailed, {kTiny}, Before::kReport);
  expect_error(bench(kTiny, {"--routing", trace, "--prefetch", "on"}), kMisused,
               {"--prefetch on asks the routers"});
}

}  // namespace
}  // namespace hearth::tools::testing
