// Millions of times one character, the worst texts for cutting and merging: time must stay linear,
// but for a logarithm. The bound on the processor's time leaves room for sanitizers; quadratic work
// would take hours. The times are printed.
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>

#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/support/vocabularies.h"

namespace hearth::runtime {
namespace {

constexpr double kMostSecondsPerMebibyte = 4.0;

struct Unit {
  const char* name;
  std::string text;
};
const std::vector<Unit>& units() {
  static const std::vector<Unit> units = {{"a", "a"},         {"spaces", " "},
                                          {"newlines", "\n"}, {"a CJK character", "中"},
                                          {"digits", "7"},    {"punctuation", "!"}};
  return units;
}

void encode_long_runs(const Tokenizer& tokenizer, std::size_t mebibytes) {
  for (const Unit& unit : units()) {
    std::string text;
    while (text.size() < mebibytes << 20) text += unit.text;
    const std::clock_t start = std::clock();
    const auto tokens = tokenizer.encode(text, {});
    const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    std::printf("  %zu MiB of %s: %.2f s, %zu tokens\n", mebibytes, unit.name, took, tokens.size());
    EXPECT_LT(took, kMostSecondsPerMebibyte * static_cast<double>(mebibytes)) << unit.name;
    EXPECT_TRUE(tokenizer.decode(tokens) == text) << unit.name;
  }
}

std::vector<std::string> unit_texts() {
  std::vector<std::string> texts;
  for (const Unit& unit : units()) texts.push_back(unit.text);
  return texts;
}

TEST(LongText, ByteLevelBpe) {
  const auto tokenizer =
      Tokenizer::from_metadata(byte_level_vocabulary("qwen2", doublings(unit_texts(), 5)));
  encode_long_runs(*tokenizer, 2);
}

TEST(LongText, SentencePiece) {
  std::vector<TestToken> tokens;
  append_byte_tokens(tokens);
  for (std::string unit : unit_texts()) {
    if (unit == " ") unit = "▁";
    for (int level = 0; level < 6; ++level, unit += unit) tokens.push_back({unit, 1, -1.0 - level});
  }
  io::GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  set_tokens(metadata, tokens);
  encode_long_runs(*Tokenizer::from_metadata(metadata), 1);
}

}  // namespace
}  // namespace hearth::runtime
