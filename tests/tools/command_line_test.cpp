#include "tools/hearth/command_line.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "base/error.h"

namespace hearth::tools {
namespace {

struct Options {
  std::string model;
  std::string prompt = "hello";
  std::string key_format = "f16";
  std::int32_t count = -1;
  std::optional<std::uint32_t> threads;
  std::optional<SizeOrShare> ram;
  float temperature = 0.8f;
  bool verbose = false;
  bool jinja = true;
  std::vector<std::string> stops;
};

void declare(CommandLine& line, Options& o) {
  line.add({.names = "-m,--model,MODEL", .value = "FILE", .help = "model", .required = true},
           o.model);
  line.add({.names = "-p,--prompt", .value = "TEXT", .help = "prompt"}, o.prompt);
  line.add({.names = "--cache-type-k", .value = "TYPE", .help = "keys", .choices = {"f16", "q8_0"}},
           o.key_format);
  line.add({.names = "-n,--n-predict", .value = "N", .help = "count"}, o.count);
  line.add({.names = "-t,--threads", .value = "N", .help = "threads"}, o.threads);
  line.add({.names = "--ram", .value = "SIZE", .help = "budget"}, o.ram);
  line.add({.names = "--temp", .value = "T", .help = "temperature"}, o.temperature);
  line.add({.names = "-v,--verbose", .help = "say more"}, o.verbose);
  line.add({.names = "--jinja,!--no-jinja", .help = "template"}, o.jinja);
  line.add({.names = "--reverse-prompt", .value = "TEXT", .help = "stop"}, o.stops);
}

Options parse(const std::vector<std::string>& arguments) {
  Options options;
  CommandLine line("test", "A test.");
  declare(line, options);
  EXPECT_TRUE(line.parse(arguments));
  return options;
}

std::string usage_error(const std::vector<std::string>& arguments) {
  Options options;
  CommandLine line("test", "A test.");
  declare(line, options);
  try {
    if (line.parse(arguments)) ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return {};
}

class EnvironmentVariable {
 public:
  EnvironmentVariable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~EnvironmentVariable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(CommandLine, ShortLongAndEqualsSpellings) {
  const Options o = parse({"-m", "a.gguf", "--prompt=x=y", "-n", "-5", "--ram", "25%", "-v"});
  EXPECT_EQ(o.model, "a.gguf");
  EXPECT_EQ(o.prompt, "x=y");
  EXPECT_EQ(o.count, -5);
  ASSERT_TRUE(o.ram.has_value());
  EXPECT_EQ(o.ram->of(Bytes(400)), Bytes(100));
  EXPECT_TRUE(o.verbose);
  EXPECT_TRUE(o.jinja);
}

TEST(CommandLine, WhatIsNotGivenKeepsItsValue) {
  const Options o = parse({"a.gguf"});
  EXPECT_EQ(o.model, "a.gguf");
  EXPECT_EQ(o.prompt, "hello");
  EXPECT_FALSE(o.threads.has_value());
  EXPECT_FALSE(o.verbose);
}

TEST(CommandLine, SpellingsOfLlamaCpp) {
  const Options o = parse({"-m", "a", "-ctk", "q8_0", "--predict", "7", "--temperature=0"});
  EXPECT_EQ(o.key_format, "q8_0");
  EXPECT_EQ(o.count, 7);
  EXPECT_EQ(o.temperature, 0.0f);
  EXPECT_FALSE(parse({"-m", "a", "--no-jinja"}).jinja);
}

TEST(CommandLine, ValuesAreTakenAsTheyAre) {
  for (const char* value : {"", "-x", "--model", "--", "{}", "%%", "[a,b]", "\"q\"", " ", "-1"}) {
    EXPECT_EQ(parse({"-m", "a", "-p", value}).prompt, value);
    EXPECT_EQ(parse({"-m", "a", std::string("--prompt=") + value}).prompt, value);
  }
  EXPECT_EQ(parse({"--", "-dash.gguf"}).model, "-dash.gguf");
}

TEST(CommandLine, OnlyRepeatableFlagsRepeat) {
  const Options o =
      parse({"-m", "a", "--reverse-prompt", "x", "--reverse-prompt", "", "--reverse-prompt=z"});
  EXPECT_EQ(o.stops, (std::vector<std::string>{"x", "", "z"}));
  EXPECT_NE(usage_error({"-m", "a", "--model", "b"}).find("given twice"), std::string::npos);
  EXPECT_NE(usage_error({"-m", "a", "-v", "-v"}).find("given twice"), std::string::npos);
  EXPECT_EQ(usage_error({"-m", "a", "b"}), "--model is given twice; leave one out");
  EXPECT_EQ(usage_error({"b", "-m", "a"}), "--model is given twice; leave one out");
}

TEST(CommandLine, APositionalWithoutAFlagTakesAllThatIsLeft) {
  std::string output;
  std::vector<std::string> files;
  const auto declared = [&](const std::function<bool(CommandLine&)>& use) {
    CommandLine line("test", "A test.");
    line.add({.names = "-o,--output", .value = "FILE", .help = "written"}, output);
    line.add({.names = "FILES", .value = "...", .help = "read", .required = true}, files);
    return use(line);
  };
  EXPECT_TRUE(declared([](CommandLine& line) { return line.parse({"a", "-o", "b", "c", "d"}); }));
  EXPECT_EQ(output, "b");
  EXPECT_EQ(files, (std::vector<std::string>{"a", "c", "d"}));
  ::testing::internal::CaptureStdout();
  EXPECT_FALSE(declared([](CommandLine& line) { return line.parse({"--help"}); }));
  EXPECT_NE(::testing::internal::GetCapturedStdout().find("FILES"), std::string::npos);
  EXPECT_THROW(declared([](CommandLine& line) { return line.parse({"-o", "b"}); }), Error);
}

TEST(CommandLine, ErrorsNameTheFlagAndTheWayOut) {
  const auto expect = [](const std::vector<std::string>& arguments, std::string_view part) {
    const std::string line = usage_error(arguments);
    EXPECT_NE(line.find(part), std::string::npos) << line;
  };
  expect({"-m", "a", "--promt", "x"}, "did you mean --prompt?");
  expect({"-m", "a", "-ngl", "99"}, "llama.cpp flag -ngl is not supported because");
  expect({"-m", "a", "--gpu-layers=99"}, "llama.cpp flag --gpu-layers is not supported because");
  expect({"-m", "a", "-ub", "99"}, "-ub has no effect on 'hearth test'");
  expect({"-m", "a", "-vv"}, "unknown flag -vv");
  expect({"-m", "a", "-x"}, "unknown flag -x; 'hearth test --help' lists all");
  expect({"-m", ""}, "--model: the name is empty");
  expect({""}, "--model: the name is empty");
  expect({"-m", "a", "-t", "many"}, "--threads: 'many' is not a whole number");
  expect({"-m", "a", "-t", "-1"}, "--threads");
  expect({"-m", "a", "-n", "3000000000"}, "--n-predict: 3000000000 is not between");
  expect({"-m", "a", "-ctk", "q3"}, "--cache-type-k");
  expect({"-m", "a", "--verbose=perhaps"}, "--verbose");
  expect({"-m"}, "-m needs a value");
  expect({}, "--model is required");
  expect({"a", "b"}, "unexpected argument 'b'");
}

TEST(CommandLine, TheEnvironmentStandsInForAFlag) {
  const EnvironmentVariable count("HEARTH_ARG_N_PREDICT", "9"), verbose("HEARTH_ARG_VERBOSE", "1"),
      keys("HEARTH_ARG_CACHE_TYPE_K", "q8_0");
  const Options o = parse({"-m", "a"});
  EXPECT_EQ(o.count, 9);
  EXPECT_TRUE(o.verbose);
  EXPECT_EQ(o.key_format, "q8_0");
  EXPECT_EQ(parse({"-m", "a", "-n", "3"}).count, 3);  // the flag wins
}

TEST(CommandLine, ABadValueInTheEnvironmentIsAnError) {
  const EnvironmentVariable count("HEARTH_ARG_N_PREDICT", "nine");
  const std::string line = usage_error({"-m", "a"});
  EXPECT_NE(line.find("--n-predict: 'nine' is not a whole number (of HEARTH_ARG_N_PREDICT)"),
            line.npos)
      << line;
}

TEST(CommandLine, ABadSwitchInTheEnvironmentIsNamed) {
  const EnvironmentVariable verbose("HEARTH_ARG_VERBOSE", "maybe");
  EXPECT_EQ(usage_error({"-m", "a"}), "HEARTH_ARG_VERBOSE=maybe: give 1, or 0 for no");
  EXPECT_TRUE(parse({"-m", "a", "--verbose"}).verbose);  // the flag wins
}

TEST(CommandLine, AContradictionSaysWhichFlagIsFromTheEnvironment) {
  const EnvironmentVariable ram("HEARTH_ARG_RAM", "1GiB");
  Options options;
  CommandLine line("test", "A test.");
  declare(line, options);
  line.check([] { throw_error(ErrorCode::kUsage, "--ram and --threads: give one of them"); });
  try {
    EXPECT_FALSE(line.parse({"-m", "a", "-t", "2"}));
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "--ram and --threads: give one of them (--ram is of HEARTH_ARG_RAM)");
  }
}

TEST(CommandLine, ATwinOfAnotherNameLeadsToTheRightOne) {
  const EnvironmentVariable no_jinja("HEARTH_ARG_NO_JINJA", "1");
  ::testing::internal::CaptureStderr();
  parse({"-m", "a"});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "hearth: HEARTH_ARG_NO_JINJA has no effect; use HEARTH_ARG_JINJA=0\n");
  unsetenv("HEARTH_ARG_NO_JINJA");
  const EnvironmentVariable jinja("HEARTH_ARG_JINJA", "0");
  EXPECT_FALSE(parse({"-m", "a"}).jinja);
}

TEST(CommandLine, ATwinWithoutEffectIsReported) {
  const EnvironmentVariable unknown("HEARTH_ARG_N_PREDICTT", "9");
  ::testing::internal::CaptureStderr();
  parse({"-m", "a"});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "hearth: HEARTH_ARG_N_PREDICTT has no effect: it is not a flag of 'hearth test'\n");
}

TEST(CommandLine, HelpShowsDefaultsChoicesAndOtherSpellings) {
  Options options;
  CommandLine line("test", "A test.");
  declare(line, options);
  std::uint32_t batch = 512;
  line.add({.names = "--ubatch-size", .value = "N", .help = "tokens"}, batch);
  ::testing::internal::CaptureStdout();
  EXPECT_FALSE(line.parse({"--help"}));
  const std::string help = ::testing::internal::GetCapturedStdout();
  for (const char* part : {"Usage: hearth test", "(default hello)", ": f16, q8_0", "[-ctk]",
                           "[--predict]", "[-ub]", "--jinja,--no-jinja ", "(required)"})
    EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
}

TEST(CommandLine, KnowsWhatWasGiven) {
  Options options;
  CommandLine line("test", "A test.");
  declare(line, options);
  ASSERT_TRUE(line.parse({"-m", "a", "-n", "-1"}));
  EXPECT_TRUE(line.given("--n-predict"));
  EXPECT_FALSE(line.given("--temp"));
}

}  // namespace
}  // namespace hearth::tools
