// Compares with the token ids of the models' own tokenizers, where their vocabularies are at hand:
// HEARTH_VOCAB_DIR names a folder with ggml-vocab-<name>.gguf, its .inp (texts, separated by a line
// "__ggml_vocab_test__") and its .out (a line of ids for each text).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "runtime/tokenizer/tokenizer.h"

namespace hearth::runtime {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::vector<std::string> read_texts(const std::string& path) {
  static constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string content = read_file(path);
  std::vector<std::string> texts;
  std::size_t begin = 0;
  for (std::size_t end; (end = content.find(kSeparator, begin)) != std::string::npos;
       begin = end + kSeparator.size())
    texts.push_back(content.substr(begin, end - begin));
  return texts;  // what follows the last separator is no text
}

std::vector<std::vector<TokenId>> read_ids(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::vector<std::vector<TokenId>> all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    all.emplace_back();
    for (TokenId id; numbers >> id;) all.back().push_back(id);
  }
  return all;
}

class TokenizerReference : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerReference, GivesTheExpectedIdsAndTheTextBack) {
  const char* folder = std::getenv("HEARTH_VOCAB_DIR");
  if (!folder) GTEST_SKIP() << "HEARTH_VOCAB_DIR does not name a folder of vocabularies";
  const std::string path = std::string(folder) + "/ggml-vocab-" + GetParam() + ".gguf";
  const auto file = io::GgufFile::open(
      path, [](std::uint32_t) -> std::optional<io::BlockShape> { return std::nullopt; });
  const auto tokenizer = Tokenizer::from_metadata(file.metadata());
  const auto texts = read_texts(path + ".inp");
  const auto expected = read_ids(path + ".out");
  ASSERT_EQ(texts.size(), expected.size());
  ASSERT_GT(texts.size(), 40u);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto tokens = tokenizer->encode(texts[i], {.add_special = false, .parse_special = false});
    EXPECT_EQ(tokens, expected[i]) << "text " << i << ": \"" << texts[i] << '"';
    EXPECT_EQ(tokenizer->decode(tokens), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, TokenizerReference,
                         testing::Values("gpt-2", "falcon", "starcoder", "deepseek-llm",
                                         "deepseek-coder", "llama-spm", "phi-3"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

}  // namespace
}  // namespace hearth::runtime
