// Prompts, budgets and flags that make no sense, or hardly any: one line says so, or it works.
#include <gtest/gtest.h>

#include "tests/sanitized.h"
#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools::testing {
namespace {

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

using Arguments = std::vector<std::string>;

CommandResult run_tiny(const Arguments& more, const std::string& input = "") {
  Arguments arguments = {"run", "-m", kTiny, "-n", "1", "--temp", "0", "--no-report"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth({arguments, input, {}});
}

CommandResult run_model(const Arguments& more, const std::string& input = "") {
  Arguments arguments = {"run", "-m", kModel, "-n", "4", "--temp", "0", "--no-report"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth({arguments, input, {}});
}

// ---- Prompts

TEST(BadPrompt, Empty) {
  const std::string file = temporary_path("empty.txt");
  write_file(file, "");
  for (const Arguments& source :
       {Arguments{"-p", ""}, {"--prompt="}, {"-f", file}, {"-f", "/dev/null"}, {"-p", "-"}, {}})
    expect_error(run_tiny(source), kFailed, {"the prompt is empty", "--prompt or --file"});
}

TEST(BadPrompt, EscapesAreOfTheTextOfAFlag) {
  for (const Arguments& source : {Arguments{"-f", "x", "--no-escape"},
                                  {"-f", "x", "--escape"},
                                  {"-p", "-", "--no-escape"},
                                  {"--no-escape"}})
    expect_error(run_tiny(source, "a"), kMisused, {"--no-escape", "--prompt"});
  EXPECT_EQ(run_tiny({"-p", "a\\n", "--no-escape"}).exit_code, 0);
}

// Beyond what it was trained for, what a model says gets worse without any other sign.
TEST(BadFlags, AContextBeyondTheTrainingIsSaid) {
  const std::string file = HEARTH_SOURCE_DIR "/README.md";
  for (const Arguments& arguments : {Arguments{"run", "-m", kTiny, "-n", "1", "-p", "a"},
                                     {"chat", "-m", kModel},
                                     {"perplexity", "-m", kTiny, "-f", file, "--chunks", "1"},
                                     {"bench", "-m", kTiny, "-p", "4", "-n", "0", "-r", "1"}}) {
    const auto notes = [&](const char* context) {
      Arguments with = arguments;
      with.insert(with.end(), {"-c", context});
      const std::string errors = run_hearth({with, "", {}}).errors;
      const std::string words = "note      the model was trained for ";
      const std::size_t at = errors.find(words);
      return at == errors.npos ? 0 : errors.find(words, at + 1) == errors.npos ? 1 : 2;
    };
    EXPECT_EQ(notes("16"), 0) << arguments.front();
    EXPECT_EQ(notes("8192"), 1) << arguments.front();
  }
}

TEST(BadFlags, BenchOfPromptsAloneDecodesNothing) {
  const Arguments prompts = {"bench", "-m", kTiny, "-p", "4", "-n", "0", "--decode", "greedy"};
  expect_error(run_hearth(prompts), kMisused, {"--decode greedy", "leave it out"});
}

TEST(BadPrompt, FilesThatCannotBeRead) {
  expect_error(run_tiny({"-f", "/nowhere/at\nall"}), kFailed,
               {"/nowhere/at\\x0aall", "No such file", "check the path"});
  expect_error(run_tiny({"-f", "/tmp"}), kFailed, {"/tmp", "Is a directory"});
}

TEST(BadPrompt, LongerThanTheContext) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "one two three ";
  expect_error(run_model({"-c", "64", "-p", text}), kFailed, {"context", "64", "--ctx-size"},
               Before::kReport);
}

TEST(BadPrompt, ARunOfOneCharacterStaysWithinTheBudget) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "sanitizers hold shadow memory";
  // Refused without being encoded, which would take forty times its size.
  const std::string path = temporary_path("run.txt");
  for (const char c : {'a', ' ', '\n', '\xff', '\0'}) {
    write_file(path, std::string(16 << 20, c));
    const CommandResult result = run_model({"--ram", "96MiB", "-c", "256", "-f", path});
    expect_error(result, kFailed, {"the prompt has at least", "context is 256", "--ctx-size"},
                 Before::kReport);
    EXPECT_LE(result.peak_memory, Bytes(96 << 20)) << "of " << int{c};
  }
}

TEST(BadPrompt, BytesThatAreNoText) {
  // Valid, but for every byte of it: half characters, overlong forms, surrogates, NUL bytes.
  const std::string bytes(
      "\xff\xfe\x80 \xc3 \xe2\x82 \xc0\xaf \xed\xa0\x80 \0\0 \xf4\x90\x80\x80 a", 26);
  const std::string file = temporary_path("bytes.txt");
  write_file(file, bytes);
  const CommandResult from_file = run_model({"-f", file});
  EXPECT_EQ(from_file.exit_code, 0) << from_file.errors;
  const CommandResult from_input = run_model({}, bytes);
  EXPECT_EQ(from_input.exit_code, 0) << from_input.errors;
  EXPECT_EQ(from_input.output, from_file.output);
}

// ---- Budgets

// The least budget that an error states: "the least that works is 1234 KiB".
Bytes stated_least(const std::string& error) {
  constexpr std::string_view kMark = "the least that works is ";
  const std::size_t begin = error.find(kMark);
  if (begin == std::string::npos) return Bytes(0);
  const std::size_t end = error.find(" (", begin);
  return parse_size(error.substr(begin + kMark.size(), end - begin - kMark.size()));
}

std::string bytes_text(Bytes size) { return std::to_string(size.count); }

TEST(BadBudget, ExpertMemoryStatesTheLeastThatWorks) {
  for (const auto& run : {run_tiny, run_model}) {
    const std::string error = expect_error(run({"-p", "a", "--expert-ram", "1"}, ""), kFailed,
                                           {"too little", "raise --expert-ram"});
    const Bytes least = stated_least(error);
    ASSERT_GT(least, Bytes(0)) << error;
    const CommandResult result = run({"-p", "a", "--expert-ram", bytes_text(least)}, "");
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    // It is rounded up to a KiB.
    expect_error(run({"-p", "a", "--expert-ram", bytes_text(least - kKiB)}, ""), kFailed,
                 {"too little"});
  }
  expect_error(run_tiny({"-p", "a", "--expert-ram", "0.01%"}), kFailed, {"too little"});
}

TEST(BadBudget, RamStatesTheLeastThatWorks) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "shadow memory differs from run to run";
  for (const auto& run : {run_tiny, run_model}) {
    const std::string error =
        expect_error(run({"-p", "a", "-c", "64", "--ram", "1MiB"}, ""), kFailed,
                     {"--ram 1.0 MiB is too small", "dense weights", "raise --ram"});
    const Bytes least = stated_least(error);
    ASSERT_GT(least, kMiB) << error;
    const CommandResult result = run({"-p", "a", "-c", "64", "--ram", bytes_text(least)}, "");
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_LE(result.peak_memory, least);
    // Half a MiB of it is what the process may differ from one run to the next; it may have been
    // smaller by as much in the run that stated it.
    expect_error(run({"-p", "a", "-c", "64", "--ram", bytes_text(least - 2 * kMiB)}, ""), kFailed,
                 {"too small"});
  }
}

TEST(BadBudget, RamBelowTheDenseWeights) {
  expect_error(run_model({"-p", "a", "--ram", "2MiB"}), kFailed, {"dense weights"});
  expect_error(run_model({"-p", "a", "--ram", "0"}), kFailed, {"dense weights"});
  expect_error(run_model({"-p", "a", "--ram", "1"}), kFailed, {"--ram 1 B is too small"});
  expect_error(run_model({"-p", "a", "--ram", "2KiB"}), kFailed, {"--ram 2.0 KiB is too small"});
}

TEST(BadBudget, ContextBeyondTheBudget) {
  expect_error(run_model({"-p", "a", "--ram", "256MiB", "-c", "1000000"}), kFailed,
               {"KV cache of 1000000 tokens", "lower --ctx-size"});
}

TEST(BadBudget, ContextBeyondTheMachine) {
  for (const Arguments& budget : {Arguments{}, {"--expert-ram", "100%"}}) {
    Arguments arguments = {"-p", "a", "-c", "4000000000"};
    arguments.insert(arguments.end(), budget.begin(), budget.end());
    expect_error(run_model(arguments), kFailed, {"KV cache of 4000000000 tokens", "--ctx-size"});
  }
}

// ---- Flags

struct BadFlags {
  const char* name;
  Arguments arguments;
  std::vector<std::string_view> parts;
};
void PrintTo(const BadFlags& flags, std::ostream* out) { *out << flags.name; }

const BadFlags kBadFlags[] = {
    {"UnknownFlag", {"run", "--promt", "a"}, {"--promt", "did you mean --prompt"}},
    {"UnknownShortFlag", {"run", "-q", "a"}, {"unknown flag -q", "--help"}},
    {"FlagWithControlCharacters", {"run", "--pro\nmpt\x1b", "a"}, {"--pro\\x0ampt\\x1b"}},
    {"UnknownSubcommand", {"rum"}, {"unknown subcommand 'rum'", "did you mean 'run'"}},
    {"FlagBeforeSubcommand", {"--model", "x", "run"}, {"a subcommand comes before --model"}},
    {"NoModel", {"run", "-p", "a"}, {"--model"}},
    {"MissingValue", {"run", "-m", kTiny, "-p"}, {"-p needs a value"}},
    {"UnexpectedArgument", {"run", "-m", kTiny, "-p", "a", "b"}, {"unexpected argument 'b'"}},
    {"TwoBudgets",
     {"run", "-m", kTiny, "-p", "a", "--ram", "1GiB", "--expert-ram", "1GiB"},
     {"--ram and --expert-ram", "one of them"}},
    {"TwoPrompts", {"run", "-m", kTiny, "-p", "a", "-f", "b"}, {"--prompt and --file"}},
    {"FlagTwice", {"run", "-m", kTiny, "-p", "a", "-p", "b"}, {"-p is given twice"}},
    {"NoThreads", {"run", "-m", kTiny, "-p", "a", "--threads", "0"}, {"--threads is 0"}},
    {"TooManyThreads", {"run", "-m", kTiny, "-p", "a", "-t", "1000000"}, {"1 to 1024"}},
    {"ContextOutOfRange",
     {"run", "-m", kTiny, "-p", "a", "-c", "99999999999"},
     {"--ctx-size", "99999999999"}},
    {"CountThatIsNoNumber", {"run", "-m", kTiny, "-p", "a", "-n", "abc"}, {"--n-predict", "'abc'"}},
    {"NegativeCount", {"run", "-m", kTiny, "-p", "a", "-n", "-7"}, {"--n-predict is -7"}},
    {"EmptyNumber", {"run", "-m", kTiny, "-p", "a", "-n", ""}, {"--n-predict", "''"}},
    {"NoBatch", {"run", "-m", kTiny, "-p", "a", "--ubatch-size", "0"}, {"--ubatch-size is 0"}},
    {"HugeBatch",
     {"run", "-m", kTiny, "-p", "a", "-b", "4294967295", "--ubatch-size", "4294967295"},
     {"4294967295", "65536"}},
    {"NanTemperature", {"run", "-m", kTiny, "-p", "a", "--temp", "nan"}, {"--temp", "nan"}},
    {"TemperatureBeyondFloat", {"run", "-m", kTiny, "-p", "a", "--temp", "1e300"}, {"temp"}},
    {"TopPOutOfRange", {"run", "-m", kTiny, "-p", "a", "--top-p", "7"}, {"top-p", "7"}},
    {"MinPOutOfRange", {"run", "-m", kTiny, "-p", "a", "--min-p", "-0.5"}, {"min-p", "-0.5"}},
    {"RepeatPenaltyZero", {"run", "-m", kTiny, "-p", "a", "--repeat-penalty", "0"}, {"penalty"}},
    {"SizeWithoutNumber", {"run", "-m", kTiny, "-p", "a", "--ram", "lots"}, {"--ram", "'lots'"}},
    {"NegativeSize", {"run", "-m", kTiny, "-p", "a", "--ram", "-5GiB"}, {"--ram", "'-5GiB'"}},
    {"ShareBeyondAll",
     {"run", "-m", kTiny, "-p", "a", "--expert-ram", "101%"},
     {"--expert-ram", "'101%'"}},
    {"UnknownPolicy", {"run", "-m", kTiny, "-p", "a", "--policy", "fifo"}, {"fifo", "lru"}},
    {"UnknownKvFormat", {"run", "-m", kTiny, "-p", "a", "-ctk", "q3_0"}, {"q3_0", "iq4_nl"}},
    {"TailOfFloats",
     {"run", "-m", kTiny, "-p", "a", "-ctv", "bf16", "--kv-tail", "64"},
     {"--kv-tail 64", "neither f16 nor bf16 is quantized"}},
    {"TailBeyondTheContext",
     {"run", "-m", kTiny, "-p", "a", "-ctk", "q8_0", "-c", "64"},
     {"the newest 128 of the 64 tokens", "lower --kv-tail"}},
    {"UnknownReader", {"run", "-m", kTiny, "-p", "a", "--io", "dma"}, {"dma", "uring"}},
    {"LlamaGpuLayers",
     {"run", "-m", kTiny, "-p", "a", "-ngl", "99"},
     {"llama.cpp flag -ngl", "CPU"}},
    {"LlamaOverride",
     {"run", "-m", kTiny, "-p", "a", "-ot", "exps=CPU"},
     {"llama.cpp flag -ot", "--ram"}},
    {"LlamaMlock", {"run", "-m", kTiny, "-p", "a", "--mlock"}, {"llama.cpp flag --mlock", "--ram"}},
    {"LlamaGrammar", {"run", "-m", kTiny, "-p", "a", "--grammar", "x"}, {"not implemented"}},
};

class BadCommandLine : public ::testing::TestWithParam<BadFlags> {};

TEST_P(BadCommandLine, EndsInOneLine) {
  expect_error(run_hearth(GetParam().arguments), kMisused, GetParam().parts);
}

INSTANTIATE_TEST_SUITE_P(Flags, BadCommandLine, ::testing::ValuesIn(kBadFlags),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace hearth::tools::testing
