// The libraries as programs find them: their symbols, and the examples that use them.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <hearth/hearth.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/small_file.h"
#include "tests/io/support/temporary_directory.h"

extern "C" const unsigned hearth_c99_function_count;

namespace hearth::testing {
namespace {

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kExamples = HEARTH_EXAMPLES "/";

struct Output {
  int exit_code = -1;
  std::string text;
};

// By the shell; standard error is left out.
Output run(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  Output output;
  std::array<char, 4096> piece;
  while (const std::size_t got = fread(piece.data(), 1, piece.size(), pipe))
    output.text.append(piece.data(), got);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) output.exit_code = WEXITSTATUS(status);
  return output;
}

// Third and last columns of nm: names, without the version.
std::vector<std::string> global_symbols(const std::string& flags, const std::string& library) {
  std::istringstream lines(run("nm " + flags + " --defined-only " + library).text);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream columns(line);
    std::string address, kind, name;
    if (columns >> address >> kind >> name && kind != "A")
      names.push_back(name.substr(0, name.find('@')));
  }
  return names;
}

void expect_the_api_alone(const std::vector<std::string>& names) {
  EXPECT_GE(names.size(), hearth_c99_function_count);
  for (const std::string& name : names) EXPECT_EQ(name.rfind("hearth_", 0), 0u) << name;
}

TEST(Library, NothingButTheApiIsExported) {
  expect_the_api_alone(global_symbols("-D", HEARTH_SHARED));
  expect_the_api_alone(global_symbols("-g", HEARTH_STATIC));
}

TEST(Library, ItsSonameIsItsMajorVersion) {
  const std::string dynamic = run("readelf -d " HEARTH_SHARED).text;
  EXPECT_NE(dynamic.find("[libhearth.so." + std::to_string(HEARTH_VERSION_MAJOR) + "]"),
            std::string::npos);
  EXPECT_EQ(dynamic.find("mimalloc"), std::string::npos);
}

TEST(Examples, Generate) {
  const std::string prompt = " " + kModel + " 'Once upon a time'";
  const Output shared = run(kExamples + "generate" + prompt);
  EXPECT_EQ(shared.exit_code, 0);
  EXPECT_GT(shared.text.size(), 20u);
  const Output linked = run(kExamples + "generate_static" + prompt);
  EXPECT_EQ(linked.exit_code, 0);
  EXPECT_EQ(linked.text, shared.text);
  EXPECT_EQ(run(kExamples + "generate /no/such.gguf x 2>/dev/null").exit_code, 1);
}

TEST(Examples, Chat) {
  const Output output =
      run("printf 'hello\\nand now?\\n' | " + kExamples + "chat " + kModel + " chatml");
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_GT(output.text.size(), 2u);
}

TEST(Examples, ProfileAndPlan) {
  const io::TemporaryDirectory directory;
  const std::string profile = directory.file("p.toml"), plan = directory.file("plan.toml");
  const Output output =
      run(kExamples + "profile_and_plan " + kModel + " 'Once upon a time' " + profile + " " + plan);
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_NE(output.text.find("experts are in memory"), std::string::npos);
  EXPECT_FALSE(read_small_file(profile, Bytes(1 << 20)).empty());
  EXPECT_FALSE(read_small_file(plan, Bytes(1 << 20)).empty());
}

TEST(Wrapper, ThrowsWhatTheLibraryReturns) {
  try {
    const api::Engine engine("/no/such.gguf");
    FAIL();
  } catch (const api::Error& error) {
    EXPECT_EQ(error.status(), HEARTH_ERROR_NOT_FOUND);
    EXPECT_NE(std::string(error.what()).find("/no/such.gguf"), std::string::npos);
  }
}

TEST(Wrapper, CarriesTextTokensAndExceptions) {
  hearth_engine_options options{};
  options.context = 256;
  const api::Engine engine(kModel, options);
  api::Session session(engine);
  std::string long_text;
  for (int i = 0; i < 100; ++i) long_text += "word ";
  const auto tokens = engine.tokenize(long_text, 0);
  EXPECT_GT(tokens.size(), 64u);
  EXPECT_EQ(engine.detokenize(tokens), long_text);
  EXPECT_EQ(session.evaluate(engine.tokenize("Once upon")).size(), engine.facts().vocabulary);
  const hearth_generation generation{};
  int left = 3;
  const auto generated =
      session.generate(generation, [&](std::int32_t, std::string_view) { return --left > 0; });
  EXPECT_EQ(generated.tokens, 3u);
  EXPECT_THROW(session.generate(
                   generation,
                   [](std::int32_t, std::string_view) -> bool { throw std::domain_error("mine"); }),
               std::domain_error);
  api::Session moved = std::move(session);
  EXPECT_GT(moved.tokens().size(), 0u);
  moved.rewind(0);
  EXPECT_EQ(moved.tokens().size(), 0u);
}

}  // namespace
}  // namespace hearth::testing
