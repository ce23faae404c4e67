// Texts cut into chunks, with a tokenizer that has a token for each byte.
#include "tools/hearth/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools {
namespace {

using ::testing::ElementsAre;
using testing::temporary_path;
using testing::write_file;

class ByteTokenizer final : public runtime::Tokenizer {
 public:
  explicit ByteTokenizer(bool adds_bos) : adds_bos_(adds_bos) {}
  std::vector<TokenId> encode(std::string_view text,
                              const runtime::EncodeOptions& options) const override {
    EXPECT_FALSE(options.add_special);
    EXPECT_FALSE(options.parse_special);
    return {text.begin(), text.end()};
  }
  std::string_view piece(TokenId, bool) const override { return {}; }
  std::size_t size() const override { return 257; }
  std::string_view description() const override { return "bytes"; }
  std::optional<TokenId> bos() const override { return 256; }
  std::optional<TokenId> eos() const override { return {}; }
  bool is_end_of_generation(TokenId) const override { return false; }
  bool adds_bos() const override { return adds_bos_; }

 private:
  bool adds_bos_;
};

std::string text_file(const std::string& name, const std::string& text) {
  write_file(temporary_path(name), text);
  return temporary_path(name);
}

std::vector<std::size_t> lengths(const Corpus& corpus) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < corpus.chunks(); ++i) all.push_back(corpus.chunk(i).size());
  return all;
}

TEST(Corpus, AChunkIsOfOneFileAndNeverOfOneToken) {
  const std::string a = text_file("a.txt", "abcdefg"), b = text_file("b.txt", "hij");
  const Corpus corpus({a, b}, ByteTokenizer(false), {.chunk = 3});
  EXPECT_THAT(lengths(corpus), ElementsAre(3, 3, 3));  // of "g" nothing follows
  EXPECT_THAT(corpus.chunk(2), ElementsAre('h', 'i', 'j'));
  EXPECT_EQ(corpus.tokens_before(2), 6u);
  EXPECT_EQ(corpus.tokens(), 9u);
}

TEST(Corpus, EveryChunkBeginsAsTheModelBeginsATextWith) {
  const std::string a = text_file("a.txt", "abcde");
  const Corpus corpus({a}, ByteTokenizer(true), {.chunk = 3});
  EXPECT_THAT(lengths(corpus), ElementsAre(3, 3, 2));
  EXPECT_THAT(corpus.chunk(2), ElementsAre(256, 'e'));
}

TEST(Corpus, EndsAtTheLimit) {
  const std::string a = text_file("a.txt", "abcdefgh");
  const auto limited = [&](bool bos, std::uint64_t most) {
    return lengths(Corpus({a, a}, ByteTokenizer(bos), {.chunk = 4, .most_tokens = most}));
  };
  EXPECT_THAT(limited(false, 6), ElementsAre(4, 2));
  EXPECT_THAT(limited(false, 5), ElementsAre(4));  // not a chunk of one token
  EXPECT_THAT(limited(false, 10), ElementsAre(4, 4, 2));
  EXPECT_THAT(limited(true, 6), ElementsAre(4, 2));
  EXPECT_THAT(limited(false, 100), ElementsAre(4, 4, 4, 4));
}

TEST(Corpus, ALongTextIsCutAtEndsOfLinesOnlyToBeEncoded) {
  std::string text;
  while (text.size() < 600'000) text += "a line of a long text\n";
  const std::string a = text_file("long.txt", text + std::string(300'000, 'x'));
  const Corpus corpus({a}, ByteTokenizer(false), {.chunk = 1000});
  EXPECT_EQ(corpus.tokens(), text.size() + 300'000);
}

TEST(Corpus, IsToldFromAnotherByTextAndCuts) {
  const std::string a = text_file("a.txt", "abcdefgh"), b = text_file("b.txt", "abcdefgi");
  const auto fingerprint = [](const std::string& file, std::uint32_t chunk) {
    return Corpus({file}, ByteTokenizer(false), {.chunk = chunk}).fingerprint();
  };
  EXPECT_EQ(fingerprint(a, 4), fingerprint(a, 4));
  EXPECT_NE(fingerprint(a, 4), fingerprint(a, 2));
  EXPECT_NE(fingerprint(a, 4), fingerprint(b, 4));
}

TEST(Corpus, WithoutTokensIsRefused) {
  const std::string empty = text_file("none.txt", ""), one = text_file("one.txt", "a");
  EXPECT_THROW(Corpus({empty, one}, ByteTokenizer(false), {.chunk = 4}), Error);
  EXPECT_THROW(Corpus({"/nowhere"}, ByteTokenizer(false), {.chunk = 4}), Error);
}

}  // namespace
}  // namespace hearth::tools
