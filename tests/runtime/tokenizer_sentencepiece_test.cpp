// SentencePiece on a small vocabulary.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/support/vocabularies.h"

namespace hearth::runtime {
namespace {

using Tokens = std::vector<TokenId>;

constexpr EncodeOptions kPlain = {.add_special = false, .parse_special = false};
constexpr TokenId kFirstByte = 3;  // <unk> <s> </s>, then the bytes
constexpr TokenId kFirstPiece = kFirstByte + 256;

// Pieces from kFirstPiece on: 0 ▁, 1 a, 2 b, 3 ▁a, 4 ab, 5 ▁ab, 6 中, 7 <u>.
io::GgufMetadata small_vocabulary() {
  std::vector<TestToken> tokens = {{"<unk>", 2}, {"<s>", 3}, {"</s>", 3}};
  append_byte_tokens(tokens);
  tokens.insert(tokens.end(), {{"▁", 1, -10},
                               {"a", 1, -11},
                               {"b", 1, -12},
                               {"▁a", 1, -3},
                               {"ab", 1, -2},
                               {"▁ab", 1, -4},
                               {"中", 1, -13},
                               {"<u>", 4, 0}});
  io::GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  metadata.set("tokenizer.ggml.bos_token_id", std::uint64_t{1});
  metadata.set("tokenizer.ggml.eos_token_id", std::uint64_t{2});
  metadata.set("tokenizer.ggml.unknown_token_id", std::uint64_t{0});
  set_tokens(metadata, tokens);
  return metadata;
}

Tokens pieces(std::initializer_list<TokenId> numbers) {
  Tokens tokens;
  for (TokenId number : numbers) tokens.push_back(kFirstPiece + number);
  return tokens;
}

TEST(SentencePiece, TheBestScoreMergesFirst) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  EXPECT_EQ(tokenizer->description(), "SentencePiece, 267 tokens");
  // " ab": "ab" scores better than "▁a"; then "▁" + "ab".
  EXPECT_EQ(tokenizer->encode("ab", kPlain), pieces({5}));
  EXPECT_EQ(tokenizer->encode("a", kPlain), pieces({3}));
  EXPECT_EQ(tokenizer->encode("ba", kPlain), pieces({0, 2, 1}));
  EXPECT_EQ(tokenizer->encode(" a", kPlain), pieces({0, 3}));
  EXPECT_EQ(tokenizer->encode("", kPlain), Tokens{});
}

TEST(SentencePiece, BosIsAddedUnlessTheFileSaysNo) {
  auto metadata = small_vocabulary();
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("a", {}), (Tokens{1, kFirstPiece + 3}));
  EXPECT_TRUE(Tokenizer::from_metadata(metadata)->is_end_of_generation(2));
  metadata.set("tokenizer.ggml.add_bos_token", false);
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("a", {}), pieces({3}));
}

TEST(SentencePiece, WhatNoTokenCoversIsSpeltInBytes) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  EXPECT_EQ(tokenizer->encode("中é", kPlain),
            (Tokens{kFirstPiece, kFirstPiece + 6, kFirstByte + 0xc3, kFirstByte + 0xa9}));
  EXPECT_EQ(tokenizer->encode("\xff", kPlain), (Tokens{kFirstPiece, kFirstByte + 0xff}));
  EXPECT_EQ(tokenizer->piece(kFirstByte + 0xff), "\xff");
}

TEST(SentencePiece, ControlTokensInTextStayTextUnlessParsed) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  const Tokens plain = tokenizer->encode("</s>", kPlain);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 2), 0);
  EXPECT_EQ(tokenizer->encode("a</s>a", {.add_special = false, .parse_special = true}),
            (Tokens{kFirstPiece + 3, 2, kFirstPiece + 3}));
}

TEST(SentencePiece, AnyBytesComeBack) {
  for (bool prefix : {true, false}) {
    auto metadata = small_vocabulary();
    metadata.set("tokenizer.ggml.add_space_prefix", prefix);
    const auto tokenizer = Tokenizer::from_metadata(metadata);
    EXPECT_TRUE(rc::check([&] {
      const auto parts = *rc::gen::container<std::vector<std::string>>(
          rc::gen::oneOf(rc::gen::arbitrary<std::string>(),
                         rc::gen::element<std::string>(" ", "  ", "ab", "a", "<u>", "<s>", "中",
                                                       "▁", "\xe4\xb8")));
      std::string text;
      for (const std::string& part : parts) text += part;
      const bool parse = *rc::gen::arbitrary<bool>();
      const Tokens tokens = tokenizer->encode(text, {.add_special = false, .parse_special = parse});
      RC_ASSERT(tokenizer->decode(tokens, true) == text);
    }));
  }
}

TEST(SentencePiece, WithoutByteTokensTheUnknownTokenStandsIn) {
  io::GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  set_tokens(metadata, {{"<unk>", 2}, {"a", 1, -1}, {"▁", 1, -2}});
  EXPECT_THROW(Tokenizer::from_metadata(metadata), Error);
  metadata.set("tokenizer.ggml.unknown_token_id", std::uint64_t{0});
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("aéa", kPlain), (Tokens{2, 1, 0, 1}));
}

TEST(SentencePiece, BadFilesAreNamed) {
  auto metadata = small_vocabulary();
  metadata.set("tokenizer.ggml.scores", gguf_array(std::vector<double>{1.0}));
  EXPECT_THROW(Tokenizer::from_metadata(metadata), Error);

  metadata = small_vocabulary();
  auto texts = *metadata.strings("tokenizer.ggml.tokens");
  texts[kFirstByte] = "<0xZZ>";
  metadata.set("tokenizer.ggml.tokens", gguf_array(texts));
  EXPECT_THROW(Tokenizer::from_metadata(metadata), Error);
}

}  // namespace
}  // namespace hearth::runtime
