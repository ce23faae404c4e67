// BPE over characters, as Gemma 4 has it, on a small vocabulary.
#include <gtest/gtest.h>

#include "base/error.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/support/vocabularies.h"

namespace hearth::runtime {
namespace {

using Tokens = std::vector<TokenId>;

constexpr EncodeOptions kPlain = {.add_special = false, .parse_special = false};
constexpr TokenId kFirstByte = 4;  // <pad> <eos> <bos> <unk>, then the bytes
constexpr TokenId kFirstPiece = kFirstByte + 256;

// Pieces from kFirstPiece on: 0 ▁, 1 a, 2 b, 3 ▁a, 4 ab, 5 \n, 6 \n\n, 7 </s>, 8 <, 9 /s>, 10 中.
io::GgufMetadata small_vocabulary() {
  std::vector<TestToken> tokens = {{"<pad>", 3}, {"<eos>", 3}, {"<bos>", 3}, {"<unk>", 2}};
  append_byte_tokens(tokens);
  for (const char* piece : {"▁", "a", "b", "▁a", "ab", "\n", "\n\n"}) tokens.push_back({piece});
  tokens.push_back({"</s>", 3});
  for (const char* piece : {"<", "/s>", "中"}) tokens.push_back({piece});
  io::GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gemma4"));
  metadata.set("tokenizer.ggml.bos_token_id", std::uint64_t{2});
  metadata.set("tokenizer.ggml.eos_token_id", std::uint64_t{1});
  metadata.set("tokenizer.ggml.unknown_token_id", std::uint64_t{3});
  set_tokens(metadata, tokens);
  metadata.set("tokenizer.ggml.merges",
               gguf_array(std::vector<std::string>{"a b", "▁ a", "< /s>", "\n \n"}));
  return metadata;
}

Tokens pieces(std::initializer_list<TokenId> numbers) {
  Tokens tokens;
  for (TokenId number : numbers) tokens.push_back(kFirstPiece + number);
  return tokens;
}

TEST(CharacterBpe, MergesGoByRank) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  EXPECT_EQ(tokenizer->description(), "character BPE, 271 tokens");
  EXPECT_EQ(tokenizer->encode("ab", kPlain), pieces({4}));
  EXPECT_EQ(tokenizer->encode(" ab", kPlain), pieces({0, 4}));  // "a b" is before "▁ a"
  EXPECT_EQ(tokenizer->encode(" a", kPlain), pieces({3}));
  EXPECT_EQ(tokenizer->encode("中a", kPlain), pieces({10, 1}));
  EXPECT_EQ(tokenizer->encode("a", {}), (Tokens{2, kFirstPiece + 1}));  // BOS by default
}

TEST(CharacterBpe, ARunOfNewlinesThatIsATokenStaysWhole) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  EXPECT_EQ(tokenizer->encode("a\n\nb\n", kPlain), pieces({1, 6, 2, 5}));
  EXPECT_EQ(tokenizer->encode("\n\n\n", kPlain), pieces({6, 5}));  // by merges
}

TEST(CharacterBpe, WhatHasNoTokenIsSpeltInBytes) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  EXPECT_EQ(tokenizer->encode("é", kPlain), (Tokens{kFirstByte + 0xc3, kFirstByte + 0xa9}));
  for (const char* text : {"a é\n\n ▁b\xff", "  a中\n"})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain)), text);
}

TEST(CharacterBpe, TextNeverMergesIntoAControlToken) {
  const auto tokenizer = Tokenizer::from_metadata(small_vocabulary());
  const auto tokens = tokenizer->encode("</s>", kPlain);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), kFirstPiece + 7), 0);
  EXPECT_EQ(tokenizer->decode(tokens), "</s>");
  EXPECT_EQ(tokenizer->encode("</s>", {.add_special = false}), pieces({7}));
}

TEST(CharacterBpe, AFileWithoutMergesIsRefused) {
  io::GgufMetadata metadata = small_vocabulary();
  metadata.set("tokenizer.ggml.merges", std::string("none"));
  EXPECT_THROW(Tokenizer::from_metadata(metadata), Error);
}

}  // namespace
}  // namespace hearth::runtime
