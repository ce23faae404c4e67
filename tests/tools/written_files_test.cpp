// What a subcommand writes never takes the place of what it reads, of a model, or of a device.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

namespace fs = std::filesystem;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kTrace = HEARTH_SOURCE_DIR "/tests/traces/code.trace";

// The same file under two names is still one.
TEST(WrittenFiles, OneFileForTwoFlagsIsMisuse) {
  const std::string text = temporary_path("text"), link = temporary_path("link");
  write_file(text, "Once upon a time there was a fox that found a golden key in the forest.");
  fs::create_symlink(text, link);
  const std::string fresh = temporary_path("fresh"), dots = temporary_path("./fresh");
  const std::vector<std::pair<std::vector<std::string>, std::string>> rows = {
      {{"logits", "-m", kModel, "-f", text, "-o", link}, "--output is the file of --file"},
      {{"logits", "-m", kModel, "-p", "a", "-o", fresh, "--experts", dots},
       "--output is the file of --experts"},
      {{"run", "-m", kModel, "-p", "a", "--trace", fresh, "--session", fresh},
       "--session is the file of --trace"},
      {{"perplexity", "-m", kModel, "-f", text, "--save-all-logits", text},
       "--save-all-logits is the file of --file"},
      {{"plan", "-m", kModel, "-o", kModel}, "--output is the file of --model"},
      {{"replay", kTrace, "--html", kTrace}, "--html is the file of TRACES"},
      {{"bench", "-m", kModel, "--routing", kTrace, "--trace", kTrace},
       "--trace is the file of --routing"},
      {{"synth", "--shape", "tiny", "--vocab", kModel, "-o", kModel},
       "--output is the file of --vocab"},
      {{"synth", "--from", kModel, "-o", kModel}, "--output is the file of --from"},
  };
  for (const auto& [arguments, words] : rows)
    expect_error(run_hearth(arguments), kMisused, {words, "name another"});
  EXPECT_FALSE(fs::exists(fresh));
}

TEST(WrittenFiles, StandardOutputIsNeverAFileOfThatName) {
  const std::string text = HEARTH_SOURCE_DIR "/README.md";
  const std::vector<std::vector<std::string>> rows = {
      {"logits", "-m", kModel, "-p", "a", "-o", "-"},
      {"logits", "-m", kModel, "-p", "a", "-o", temporary_path("x.npy"), "--experts", "-"},
      {"run", "-m", kModel, "-p", "a", "-n", "1", "--trace", "-"},
      {"run", "-m", kModel, "-p", "a", "-n", "1", "--session", "-"},
      {"run", "-m", kModel, "-p", "a", "-n", "1", "--learn", "--profile", "-"},
      {"perplexity", "-m", kModel, "-f", text, "--save-all-logits", "-"},
      {"plan", "-m", kModel, "--output=-"},
      {"synth", "--shape", "tiny", "-o", "-"},
      {"replay", kTrace, "--html", "-"},
      {"trace", "synth", "-n", "1", "-o", "-"},
      {"profile", "record", "-m", kModel, "-f", text, "--workload", "w", "-o", "-"},
      {"profile", "record", "-m", kModel, "-f", text, "--workload", "w", "--trace", "-"},
      {"profile", "import", text, "--format", "csv", "-m", kModel, "-o", "-"},
      {"profile", "merge", text, "-o", "-"},
      {"manual", "-"},
  };
  for (const std::vector<std::string>& arguments : rows)
    expect_error(run_hearth(arguments), kMisused, {"standard output is not possible", "./-"});
  EXPECT_FALSE(fs::exists("-"));
}

TEST(WrittenFiles, NoOtherModelIsReplaced) {
  const std::string other = temporary_path("kept.gguf");
  fs::copy_file(kModel, other);
  const std::vector<std::vector<std::string>> rows = {
      {"logits", "-m", kModel, "-p", "a", "-o", other},
      {"logits", "-m", kModel, "-p", "a", "-o", temporary_path("x.npy"), "--experts", other},
      {"perplexity", "-m", kModel, "-f", HEARTH_SOURCE_DIR "/README.md", "-c", "16", "--chunks",
       "1", "--save-all-logits", other},
      {"plan", "-m", kModel, "--expert-ram", "50%", "-o", other},
      {"replay", kTrace, "--html", other},
  };
  for (const std::vector<std::string>& arguments : rows)
    expect_error(run_hearth(arguments), kFailed, {other, "is a model"}, Before::kReport);
  EXPECT_TRUE(read_file(other) == read_file(kModel));
  fs::remove(other);
}

TEST(WrittenFiles, DoctorLooksBeforeItMeasures) {
  for (const std::string& path : {temporary_path(""), std::string("/dev/null"), kModel}) {
    const CommandResult result = run_hearth({"doctor", "--quick", "-o", path});
    expect_error(result, kFailed, {path});
    EXPECT_EQ(result.output, "");
  }
}

TEST(WrittenFiles, ARunLooksBeforeItBeginsWhereItWillWrite) {
  const std::string nowhere = temporary_path("nowhere/file");
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--session", nowhere}, {"--learn", "--profile", nowhere}}) {
    std::vector<std::string> arguments = {"run", "-m", kModel, "-p", "a", "-n", "2"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const CommandResult result = run_hearth(arguments);
    expect_error(result, kFailed, {nowhere, "cannot be created"});
    EXPECT_EQ(result.output, "");
  }
}

// Before hours of work, not after them.
TEST(WrittenFiles, AFolderIsRefusedBeforeAnythingIsComputed) {
  const std::string folder = temporary_path("folder");
  fs::create_directory(folder);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"synth", "--shape", "tiny", "-o", folder},
        {"logits", "-m", kModel, "-p", "a", "-o", folder},
        {"logits", "-m", kModel, "-p", "a", "-o", temporary_path("x.npy"), "--experts", folder}}) {
    const CommandResult result = run_hearth(arguments);
    expect_error(result, kFailed, {folder, "is not a regular file"}, Before::kReport);
    EXPECT_EQ(result.errors.find("writing"), std::string::npos) << result.errors;
  }
}

}  // namespace
}  // namespace hearth::tools::testing
