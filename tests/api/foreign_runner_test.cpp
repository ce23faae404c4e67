// A runner that sees experts through the store alone gives the logits of the runtime, bit for bit,
// however little memory the experts have.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/api/support/handles.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::testing {
namespace {

std::vector<float> logits_of_runtime(const std::vector<std::int32_t>& tokens) {
  const auto engine = open_engine();
  const auto session = open_session(engine);
  std::vector<float> all;
  struct Sink {
    std::vector<float>& all;
    std::size_t vocabulary;
  } sink{all, facts_of(engine).vocabulary};
  const auto keep = [](void* user, std::size_t, const float* logits) -> std::int32_t {
    Sink& to = *static_cast<Sink*>(user);
    to.all.insert(to.all.end(), logits, logits + to.vocabulary);
    return 0;
  };
  EXPECT_EQ(hearth_session_evaluate_each(session.get(), tokens.data(), tokens.size(), keep, &sink),
            HEARTH_OK)
      << hearth_message();
  return all;
}

struct Ran {
  std::vector<float> logits;
  std::string output;
};

Ran run_foreign(const std::string& budget, const std::vector<std::int32_t>& tokens) {
  const io::TemporaryDirectory directory;
  std::string command =
      HEARTH_EXAMPLES "/foreign_runner " + kModel + " " + budget + " " + directory.file("logits");
  for (const std::int32_t token : tokens) command += " " + std::to_string(token);
  std::FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  Ran ran;
  char piece[256];
  while (std::fgets(piece, sizeof piece, pipe) != nullptr) ran.output += piece;
  EXPECT_EQ(pclose(pipe), 0) << ran.output;
  std::ifstream in(directory.file("logits"), std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  ran.logits.resize(bytes.size() / sizeof(float));
  std::memcpy(ran.logits.data(), bytes.data(), ran.logits.size() * sizeof(float));
  return ran;
}

// Plain loops are slow; the 34th position is in the second tile of 32 positions of attention.
TEST(ForeignRunner, GivesTheLogitsOfTheRuntimeAtEveryBudget) {
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 34; ++i) tokens.push_back(i * 97 % 4000);
  const std::vector<float> expected = logits_of_runtime(tokens);
  ASSERT_EQ(expected.size(), tokens.size() * 4096);
  for (const char* budget : {"100%", "30%", "least"}) {
    const Ran ran = run_foreign(budget, tokens);
    ASSERT_EQ(ran.logits.size(), expected.size()) << budget << ": " << ran.output;
    EXPECT_EQ(std::memcmp(ran.logits.data(), expected.data(), expected.size() * sizeof(float)), 0)
        << budget << ": " << ran.output;
    EXPECT_EQ(ran.output.find(" 0 evictions") != std::string::npos, budget[0] == '1') << ran.output;
  }
}

}  // namespace
}  // namespace hearth::testing
