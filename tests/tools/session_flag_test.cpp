// hearth run --session: a run in two halves says what one run says.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

CommandResult run(const std::string& tokens, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"run", "-m",           kModel,       "-n", tokens,
                                        "-c",  "256",          "-t",         "2",  "--temp",
                                        "1",   "--ignore-eos", "--no-report"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  CommandResult result = run_hearth(std::move(arguments));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return result;
}

// Without the line break that ends it.
std::string text_of(const CommandResult& result) {
  return result.output.substr(0, result.output.size() - 1);
}

TEST(SessionFlag, TwoHalvesAreOneRun) {
  const std::string path = temporary_path("halves.session");
  const std::vector<std::string> prompt = {"-p", "Once upon a time", "-s", "3"};
  const std::string whole = text_of(run("24", prompt));
  std::vector<std::string> first = prompt;
  first.insert(first.end(), {"--session", path});
  std::string halves = text_of(run("10", first));
  const CommandResult second = run("14", {"--session", path});
  EXPECT_NE(second.errors.find("goes on after"), std::string::npos) << second.errors;
  halves += text_of(second);
  EXPECT_EQ(halves, whole);
}

TEST(SessionFlag, APromptGoesOnAfterTheSession) {
  const std::string path = temporary_path("prompt.session");
  run("4", {"-p", "Once upon a time", "-s", "3", "--session", path});
  const auto first = std::filesystem::file_size(path);
  run("4", {"-p", " there was", "--session", path});
  EXPECT_GT(std::filesystem::file_size(path), first);
}

TEST(SessionFlag, AFileThatIsNoSessionIsLeftAlone) {
  const std::string path = temporary_path("text.session");
  write_file(path, "not a session, but somebody's text");
  const std::string line =
      expect_error(run_hearth({"run", "-m", kModel, "-p", "a", "-n", "1", "--session", path}),
                   kFailed, {path, "is not a session"}, Before::kReport);
  EXPECT_FALSE(line.empty());
  EXPECT_EQ(read_file(path), "not a session, but somebody's text");
}

TEST(SessionFlag, LlamasPromptCacheIsPointedToIt) {
  expect_error(run_hearth({"run", "-m", kModel, "--prompt-cache", "x"}), kMisused, {"--session"});
}

}  // namespace
}  // namespace hearth::tools::testing
