// What the command answers: exit codes, one line of error, help and versions.
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>

#include "tests/tools/support/run_command.h"

namespace hearth::tools {
namespace {

using testing::CommandResult;
using testing::run_hearth;

void expect_error(const std::vector<std::string>& arguments, int exit_code, std::string_view part) {
  const CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, exit_code) << result.errors;
  EXPECT_EQ(result.output, "");
  EXPECT_TRUE(result.errors.starts_with("hearth: error: ")) << result.errors;
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
  EXPECT_NE(result.errors.find(part), std::string::npos) << result.errors;
}

TEST(Usage, HelpAndVersionAreOutputAndSuccess) {
  for (const char* flag : {"--help", "-h", "help"}) {
    const CommandResult result = run_hearth({flag});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.output.find("inspect"), std::string::npos);
    EXPECT_EQ(result.errors, "");
  }
  EXPECT_TRUE(run_hearth({"--version"}).output.starts_with("hearth "));
  const CommandResult help = run_hearth({"inspect", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.output.find("--tensors"), std::string::npos);
}

TEST(Usage, HelpIsPartedByOneEmptyLine) {
  const std::string help = run_hearth({"run", "--help"}).output;
  EXPECT_EQ(help.find("\n\n\n"), std::string::npos) << help;
  EXPECT_NE(help.find("\n\nUsage: hearth run "), std::string::npos) << help;
  EXPECT_NE(help.find("\n\nMemory:\n  --ram "), std::string::npos) << help;
}

TEST(Usage, NoSubcommandIsAUsageError) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {"trace"}, {"profile"}}) {
    const CommandResult result = run_hearth(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.output, "");
    EXPECT_NE(result.errors.find("Usage: hearth"), std::string::npos) << result.errors;
  }
}

TEST(Usage, MisspellingsAreNamedWithTheNearest) {
  expect_error({"insepct"}, 2, "did you mean 'inspect'?");
  expect_error({"inspect", "--tensrs", "x"}, 2, "did you mean --tensors?");
  expect_error({"-m", "x"}, 2, "a subcommand comes before -m");
}

TEST(Usage, FlagsOfLlamaCppWithoutEffectSayWhy) {
  expect_error({"inspect", "-ngl", "99", "x"}, 2, "llama.cpp flag -ngl is not supported because");
  expect_error({"inspect", "--mlock", "x"}, 2, "llama.cpp flag --mlock is not supported because");
}

TEST(Usage, ErrorsOfValuesNameTheirFlag) {
  expect_error({"bench", "-m", "x", "-p", "abc"}, 2, "--n-prompt abc: 'abc' is not a whole number");
  expect_error({"bench", "-m", "x", "-p", "16,"}, 2, "--n-prompt 16,: '' is not a whole number");
  expect_error({"bench", "-m", "x", "-d", "-1"}, 2, "--n-depth -1: '-1' is not a whole number");
  expect_error({"replay", "x", "--budget", "0%"}, 2, "--budget: '0%' is not a share above 0%");
  expect_error({"synth", "-o", "/x/y", "--shape", "tiny", "--mix", "foo"}, 2,
               "--mix: unknown mix 'foo'; known are q4_k_m, mxfp4_moe, and one of ");
  expect_error({"synth", "-o", "/x/y", "--shape", "tiny", "--down-format", "foo"}, 2,
               "--down-format: unknown weight format 'foo'");
  expect_error({"run", "-m", "x", "-p", "y", "--top-p", "2"}, 2, "--top-p is 2; give 0 to 1");
  expect_error({"run", "-m", "x", "-p", "y", "--min-p", "-1"}, 2, "--min-p is -1; give 0 to 1");
}

TEST(Usage, APromptFromTheEnvironmentBesideOneThatIsGivenIsNamed) {
  const CommandResult result = run_hearth({.arguments = {"run", "-m", "x", "-p", "y"},
                                           .input = {},
                                           .environment = {{"HEARTH_ARG_FILE", "z"}}});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.errors,
            "hearth: error: --prompt and --file both give the prompt; give one of them (--file is "
            "of HEARTH_ARG_FILE)\n");
}

TEST(Usage, NoUsualFlagOfLlamaCppIsUnknown) {
  for (const char* flag : {"-r",
                           "-i",
                           "-v",
                           "-l",
                           "-j",
                           "-C",
                           "--dynatemp-range",
                           "--dynatemp-exp",
                           "--top-nsigma",
                           "--top-n-sigma",
                           "--dry-multiplier",
                           "--dry-base",
                           "--dry-allowed-length",
                           "--dry-penalty-last-n",
                           "--dry-sequence-breaker",
                           "--xtc-probability",
                           "--typical",
                           "--mirostat",
                           "--spec-type",
                           "--spec-draft-ngl",
                           "-ngld",
                           "-devd",
                           "--draft",
                           "--draft-max",
                           "--draft-p-min",
                           "--warmup",
                           "--rpc",
                           "--repack",
                           "-nr",
                           "--cache-ram",
                           "-cram",
                           "--reasoning-effort",
                           "--reasoning-budget",
                           "--log-prefix",
                           "--no-log-prefix",
                           "--grp-attn-n",
                           "-gaw",
                           "--rope-scale",
                           "--yarn-beta-slow",
                           "--numa",
                           "--mlock",
                           "--no-mmap",
                           "-ot",
                           "--cpu-moe",
                           "--n-cpu-moe",
                           "-fa",
                           "-ngl",
                           "-ts",
                           "-mg",
                           "-sm",
                           "-cb",
                           "--slots",
                           "--timeout",
                           "--embeddings",
                           "--hellaswag",
                           "--tools",
                           "--video"})
    for (const char* subcommand : {"run", "chat", "inspect"})
      expect_error({subcommand, flag, "1"}, 2,
                   std::string("llama.cpp flag ") + flag + " is not supported because");
  expect_error({"chat", "-m", "x", "-p", "Hello"}, 2, "type a message, pipe it in, or /read FILE");
  expect_error({"bench", "-m", "/nonexistent", "-p", "16", "-r", "1"}, 1, "/nonexistent");
  expect_error({"run", "-m", "/nonexistent", "-p", "a", "-e"}, 1, "/nonexistent");
}

// What it meant there is said, rather than that it means nothing here.
TEST(Usage, FlagsOfLlamaCppThatDoSomethingThereLeadToWhatDoesItHere) {
  expect_error({"run", "-m", "x", "-cnv"}, 2, "hearth chat");
  expect_error({"run", "-m", "x", "--reverse-prompt", "User:"}, 2, "--n-predict");
  expect_error({"run", "-m", "x", "--port", "8080"}, 2, "no server");
  expect_error({"run", "-m", "x", "--lora", "y"}, 2, "merge them");
  expect_error({"run", "-m", "x", "--perf"}, 2, "--no-report");
  expect_error({"run", "-m", "x", "--no-perf"}, 2, "use --no-report");
  expect_error({"chat", "-m", "x", "-sysf", "y"}, 2, "--system");
  expect_error({"chat", "-m", "x", "--reasoning-budget", "0"}, 2, "--reasoning off");
  expect_error({"perplexity", "-m", "x", "-f", "y", "--kl-divergence"}, 2, "hearth kld");
  // Other spellings of flags that are here: all that is wrong is the file.
  expect_error({"run", "-m", "/nonexistent", "-p", "a", "--predict", "3"}, 1, "/nonexistent");
  expect_error({"chat", "-m", "/nonexistent", "--chat-template-file", "y"}, 1, "/nonexistent");
}

TEST(Usage, AMissingFileIsARuntimeError) {
  expect_error({"inspect", "/nonexistent/model.gguf"}, 1, "/nonexistent/model.gguf");
}

TEST(Usage, AFullDiskUnderStandardOutputIsAnError) {
  const std::string command = std::string(HEARTH_BINARY) + " --help > /dev/full 2> /dev/null";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
}  // namespace hearth::tools
