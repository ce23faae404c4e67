// Where pre-tokens begin and end.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <ctime>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/tokenizer/pre_tokenizer.h"

namespace hearth::runtime {
namespace {

using Pieces = std::vector<std::string>;

Pieces split(const PreTokenizer& pre_tokenizer, std::string_view text) {
  Pieces pieces;
  pre_tokenizer.split(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

Pieces split(std::string_view rule, std::string_view text) {
  return split(PreTokenizer(*find_split_rule(rule)), text);
}

struct Row {
  const char* rule;
  const char* text;
  Pieces pieces;
};

// Worked out by hand from the published patterns.
TEST(PreTokenizer, CutsAsThePublishedPatternsDo) {
  const std::vector<Row> rows = {
      {"gpt-2", "Hello world", {"Hello", " world"}},
      {"gpt-2", "I'll we'Ve 12345!?", {"I", "'ll", " we", "'", "Ve", " 12345", "!?"}},
      {"gpt-2", "a   b\n\n c\t", {"a", "  ", " b", "\n\n", " c", "\t"}},
      {"gpt-2", "x\ty", {"x", "\t", "y"}},
      {"qwen2",
       "I'll we'VE 123!\n\n a",
       {"I", "'ll", " we", "'VE", " ", "1", "2", "3", "!\n\n", " a"}},
      {"qwen2", "  \n  \n  x", {"  \n  \n", " ", " x"}},
      {"qwen2", "f(x)=\"y\";", {"f", "(x", ")=\"", "y", "\";"}},
      {"qwen2", "क़िताब", {"क", "़ि", "त", "ाब"}},
      {"qwen35", "क़िताब", {"क़िताब"}},
      {"llama-bpe", "1234567 a", {"123", "456", "7", " a"}},
      {"llama-bpe", "  x \r\n\ty", {" ", " x", " \r\n", "\ty"}},
      {"gpt-4o", "HelloWORLDs don't iPhone", {"Hello", "WORLDs", " don't", " i", "Phone"}},
      {"gpt-4o", "ABC中文DEF x/\n/", {"ABC中文", "DEF", " x", "/\n/"}},
      {"kimi-k2", "Kimi中文K2'LL 12345", {"Kimi", "中文", "K", "2", "'LL", " ", "123", "45"}},
      {"kimi-k2", "々ABC漢字か don't", {"々", "ABC", "漢字", "か", " don't"}},
      {"kimi-k2", "⺀〇𠀀。!\n/", {"⺀〇𠀀", "。!\n", "/"}},
      {"tekken", "don't 12", {"don", "'t", " ", "1", "2"}},
      {"deepseek-v3", "abc12345漢字-foo!bar", {"abc", "123", "45", "漢字", "-foo", "!bar"}},
      {"deepseek-coder", "int x1=23;\n", {"int", " x", "1", "=", "2", "3", ";", "\n"}},
      {"deepseek-llm", "int x=23 \n", {"int", " x", "=", "23", " ", "\n"}},
      {"falcon", "a,b 12345", {"a", ",", "b", " ", "123", "45"}},
      {"starcoder", "x12", {"x", "1", "2"}},
      {"default", "a `b` 1234", {"a", " `", "b", "`", " ", "123", "4"}},
  };
  for (const Row& row : rows)
    EXPECT_EQ(split(row.rule, row.text), row.pieces) << row.rule << ": " << row.text;
}

TEST(PreTokenizer, MongolianVowelSeparatorIsNoWhiteSpace) {
  EXPECT_EQ(split("gpt-2", "a\u180e b"), (Pieces{"a", "\u180e", " b"}));
  EXPECT_EQ(split("gpt-2", "a\u2003\u3000b"), (Pieces{"a", "\u2003", "\u3000", "b"}));
}

TEST(PreTokenizer, InvalidBytesAreAPreTokenOfTheirOwn) {
  EXPECT_EQ(split("qwen2", "ab\xff\xfe cd\xe4\xb8"), (Pieces{"ab", "\xff\xfe", " cd", "\xe4\xb8"}));
  // The text before stands alone: its spaces are at an end, and stay together.
  EXPECT_EQ(split("qwen2", "a  \xc3z"), (Pieces{"a", "  ", "\xc3", "z"}));
  EXPECT_EQ(split("qwen2", ""), Pieces{});
}

// Text in which every class of character, and every pair of classes, is frequent.
rc::Gen<std::string> nasty_text() {
  static const std::vector<std::string> kAlphabet = {
      " ",      "  ",     "\n",     "\r", "\r\n",    "\t",     "a", "b", "A", "Z",      "'",
      "'s",     "'LL",    "1",      "23", "²",       "½",      ".", "/", "-", "`",      "$",
      "+",      "中",     "か",     "é",  "e\u0301", "\u0301", "ǅ", "ʰ", "Ω", "\u00a0", "\u3000",
      "\u180e", "\u0085", "\u200b", "😀", "\x01",    "가",     "ß", "ſ", "。"};
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kAlphabet)),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const std::string& part : parts) text += part;
                        return text;
                      });
}

// The patterns as published, with \s spelt as Unicode's white space.
struct Published {
  const char* rule;
  std::vector<std::string_view> patterns;
};
#define S R"(\p{WSpace})"
#define NOT_S R"(\P{WSpace})"
#define ENDING S "*[\\r\\n]+|" S "+(?!" NOT_S ")|" S "+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define NO_HAN "(?:(?![中])"
#define GPT2 \
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" S "\\p{L}\\p{N}]+|" S "+(?!" NOT_S ")|" S "+"
const std::vector<Published>& published() {
  static const std::vector<Published> rules = {
      {"gpt-2", {GPT2}},
      {"qwen2",
       {CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^)" S R"(\p{L}\p{N}]+[\r\n]*|)" ENDING}},
      {"qwen35",
       {CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^)" S
                     R"(\p{L}\p{M}\p{N}]+[\r\n]*|)" ENDING}},
      {"llama-bpe",
       {CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^)" S
                     R"(\p{L}\p{N}]+[\r\n]*|)" ENDING}},
      {"gpt-4o",
       {R"([^\r\n\p{L}\p{N}]?)" UPPER "*" LOWER "+" CONTRACTIONS "?|"
        R"([^\r\n\p{L}\p{N}]?)" UPPER "+" LOWER "*" CONTRACTIONS R"(?|\p{N}{1,3}| ?[^)" S
        R"(\p{L}\p{N}]+[\r\n/]*|)" ENDING}},
      // Of Han there is but one character in nasty_text().
      {"kimi-k2",
       {R"([中]+|[^\r\n\p{L}\p{N}]?)" NO_HAN UPPER ")*" NO_HAN LOWER ")+" CONTRACTIONS "?|"
        R"([^\r\n\p{L}\p{N}]?)" NO_HAN UPPER ")+" NO_HAN LOWER ")*" CONTRACTIONS
        R"(?|\p{N}{1,3}| ?[^)" S R"(\p{L}\p{N}]+[\r\n]*|)" ENDING}},
      {"tekken",
       {R"([^\r\n\p{L}\p{N}]?)" UPPER "*" LOWER "+|"
        R"([^\r\n\p{L}\p{N}]?)" UPPER "+" LOWER R"(*|\p{N}| ?[^)" S
        R"(\p{L}\p{N}]+[\r\n/]*|)" ENDING}},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
        R"(| ?[\p{P}\p{S}]+[\r\n]*|)" ENDING}},
      {"deepseek-coder",
       {"[\r\n]", S R"(?\p{L}+)", S R"(?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", R"(\p{N})"}},
      {"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", GPT2, "[0-9][0-9][0-9]"}},
      {"starcoder", {R"(\p{N})", GPT2}},
  };
  return rules;
}

TEST(PreTokenizer, RewritingThePatternsDidNotChangeTheirMatches) {
  for (const Published& entry : published()) {
    const PreTokenizer ours(*find_split_rule(entry.rule));
    const PreTokenizer theirs(
        SplitRule{.name = entry.rule, .aliases = {}, .patterns = entry.patterns});
    EXPECT_TRUE(rc::check(entry.rule, [&] {
      const std::string text = *nasty_text();
      RC_ASSERT(split(ours, text) == split(theirs, text));
    }));
  }
}

TEST(PreTokenizer, DeepseekLlmTrailingSpacesAreAPieceOnlyAtTheEnd) {
  const PreTokenizer plain({.name = "", .aliases = {}, .patterns = {S R"(+\z)"}});
  const PreTokenizer ours({.name = "", .aliases = {}, .patterns = {"(?<!" S ")" S R"(++\z)"}});
  EXPECT_TRUE(rc::check([&] {
    const std::string text = *nasty_text();
    RC_ASSERT(split(ours, text) == split(plain, text));
  }));
}

std::vector<std::string> all_rules() {
  std::vector<std::string> names;
  std::istringstream list(known_split_rules());
  for (std::string name; std::getline(list >> std::ws, name, ',');) names.push_back(name);
  return names;
}

TEST(PreTokenizer, InterpretedCutsAsCompiledAndNothingIsLost) {
  for (const std::string& name : all_rules()) {
    const SplitRule& rule = *find_split_rule(name);
    const PreTokenizer compiled(rule);
    const PreTokenizer interpreted(rule, PreTokenizer::Engine::kInterpreted);
    EXPECT_TRUE(rc::check(name, [&] {
      const std::string text = *nasty_text() + *rc::gen::arbitrary<std::string>();
      const Pieces pieces = split(compiled, text);
      RC_ASSERT(pieces == split(interpreted, text));
      std::string joined;
      for (const std::string& piece : pieces) {
        RC_ASSERT(!piece.empty());
        joined += piece;
      }
      RC_ASSERT(joined == text);
    }));
  }
}

std::string repeat(std::string_view unit, std::size_t bytes) {
  std::string text;
  text.reserve(bytes + unit.size());
  while (text.size() < bytes) text += unit;
  return text;
}

// A quadratic pattern would take a minute here; the step limit turns that into an error.
TEST(PreTokenizer, LongRunsTakeLinearTime) {
  static constexpr std::size_t kBytes = 64 << 10;
  const std::vector<std::string> units = {"a",      "A",  " ",   "\n", " \n", "1",    ".",     "中",
                                          "\u0301", "Aa", "A中", "'",  "./",  "\xff", "a \xff"};
  for (const std::string& name : all_rules()) {
    for (auto engine : {PreTokenizer::Engine::kCompiled, PreTokenizer::Engine::kInterpreted}) {
      const PreTokenizer pre_tokenizer(*find_split_rule(name), engine);
      const std::clock_t start = std::clock();
      for (const std::string& unit : units) {
        // The last word makes the end of a run different from the end of the text.
        const std::string text = repeat(unit, kBytes) + " x";
        std::size_t bytes = 0;
        pre_tokenizer.split(text, [&](std::string_view piece) { bytes += piece.size(); });
        EXPECT_EQ(bytes, text.size());
      }
      const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
      EXPECT_LT(took, 15.0) << name;
    }
  }
}

TEST(SplitRules, AliasesAndUnknownNames) {
  EXPECT_EQ(find_split_rule("llama-v3"), find_split_rule("llama3"));
  EXPECT_EQ(find_split_rule("llama3")->name, "llama-bpe");
  EXPECT_TRUE(find_split_rule("llama3")->whole_tokens_first);
  EXPECT_FALSE(find_split_rule("glm4")->whole_tokens_first);
  EXPECT_EQ(find_split_rule("kimi-k9"), nullptr);
  EXPECT_NE(known_split_rules().find("gpt-2, qwen2, "), std::string::npos);
}

}  // namespace
}  // namespace hearth::runtime
