// Byte-level BPE on a small vocabulary: round trips, special tokens, marks, and bad files.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/support/vocabularies.h"

namespace hearth::runtime {
namespace {

using Tokens = std::vector<TokenId>;

constexpr EncodeOptions kPlain = {.add_special = false, .parse_special = false};
constexpr std::int64_t kControl = 3;
constexpr std::int64_t kUserDefined = 4;

// he = 256, ll = 257, hell = 258, hello = 259, " w" = 260, then the given ones.
io::GgufMetadata hello_vocabulary(std::string_view pre, const std::vector<TestToken>& more = {}) {
  return byte_level_vocabulary(
      pre, {{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {" ", "w"}}, more);
}

TEST(ByteLevelBpe, MergesByRankInsideEachPreToken) {
  const auto tokenizer = Tokenizer::from_metadata(hello_vocabulary("gpt-2"));
  EXPECT_EQ(tokenizer->description(), "byte-level BPE (gpt-2), 261 tokens");
  EXPECT_EQ(tokenizer->encode("hello", kPlain), Tokens{259});
  EXPECT_EQ(tokenizer->encode("hell wo", kPlain), (Tokens{258, 260, 'o'}));
  EXPECT_EQ(tokenizer->encode("he1ll", kPlain), (Tokens{256, '1', 257}));
  EXPECT_EQ(tokenizer->encode("", kPlain), Tokens{});
  EXPECT_EQ(tokenizer->piece(260), " w");
}

TEST(ByteLevelBpe, AnyBytesComeBack) {
  for (const char* pre : {"gpt-2", "qwen2", "llama-bpe", "gpt-4o", "deepseek-llm", "falcon"}) {
    const auto tokenizer = Tokenizer::from_metadata(
        hello_vocabulary(pre, {{"<|end|>", kControl}, {"<tool>", kUserDefined}}));
    EXPECT_TRUE(rc::check(pre, [&] {
      const auto parts = *rc::gen::container<std::vector<std::string>>(rc::gen::oneOf(
          rc::gen::arbitrary<std::string>(),
          rc::gen::element<std::string>("hello", " w", "<|end|>", "<tool>", "中", "\xe4")));
      std::string text;
      for (const std::string& part : parts) text += part;
      const bool parse = *rc::gen::arbitrary<bool>();
      const Tokens tokens = tokenizer->encode(text, {.add_special = false, .parse_special = parse});
      RC_ASSERT(tokenizer->decode(tokens, true) == text);
    }));
  }
}

TEST(ByteLevelBpe, WholeTokensComeBeforeMergesOnlyWhereTheRuleSaysSo) {
  // "lo" is a token that no merge builds.
  const std::vector<TestToken> more = {{"lo"}, {"<x>", kControl}};
  EXPECT_EQ(Tokenizer::from_metadata(hello_vocabulary("llama-bpe", more))->encode("lo", kPlain),
            Tokens{261});
  EXPECT_EQ(Tokenizer::from_metadata(hello_vocabulary("qwen2", more))->encode("lo", kPlain),
            (Tokens{'l', 'o'}));
}

TEST(ByteLevelBpe, ControlTokensAreParsedOnRequestUserDefinedOnesAlways) {
  const auto tokenizer = Tokenizer::from_metadata(hello_vocabulary(
      "qwen2",
      {{"<a>", kControl}, {"<a>b", kControl}, {"<u>", kUserDefined}, {"<a", kUserDefined}}));
  EXPECT_EQ(tokenizer->encode("x<a>b<a>c<u>", {.add_special = false, .parse_special = true}),
            (Tokens{'x', 262, 261, 'c', 263}));
  EXPECT_EQ(tokenizer->encode("<a>b<u>", kPlain), (Tokens{264, '>', 'b', 263}));
  EXPECT_EQ(tokenizer->piece(261), "");
  EXPECT_EQ(tokenizer->piece(261, true), "<a>");
  EXPECT_EQ(tokenizer->piece(263), "<u>");
}

TEST(ByteLevelBpe, ManySpecialTokensWithOneBeginningCostNoMore) {
  std::vector<TestToken> more;
  for (int i = 0; i < 20'000; ++i)
    more.push_back({"<|reserved_" + std::to_string(i) + "|>", kControl});
  const auto tokenizer = Tokenizer::from_metadata(hello_vocabulary("qwen2", more));
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "<|reserved_";
  // Trying each of 20,000 at each of 220,000 bytes would take minutes.
  const Tokens tokens = tokenizer->encode(text + "777|>", {});
  EXPECT_EQ(tokens.back(), 261 + 777);
  EXPECT_EQ(tokenizer->decode(tokens, true), text + "777|>");
}

TEST(ByteLevelBpe, MarksAreAddedAsTheFileOrElseTheRuleSays) {
  const std::vector<TestToken> marks = {{"<s>", kControl}, {"</s>", kControl}};
  auto metadata = hello_vocabulary("qwen2", marks);
  metadata.set("tokenizer.ggml.bos_token_id", std::uint64_t{261});
  metadata.set("tokenizer.ggml.eos_token_id", std::uint64_t{262});
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("h", {}), Tokens{'h'});
  EXPECT_FALSE(Tokenizer::from_metadata(metadata)->adds_bos());

  metadata.set("tokenizer.ggml.pre", std::string("llama3"));
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("h", {}), (Tokens{261, 'h'}));

  metadata.set("tokenizer.ggml.add_bos_token", false);
  metadata.set("tokenizer.ggml.add_eos_token", true);
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("h", {}), (Tokens{'h', 262}));
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->encode("h", kPlain), Tokens{'h'});
}

TEST(ByteLevelBpe, EndsOfGenerationByKeyAndByName) {
  auto metadata = hello_vocabulary("qwen2", {{"<|endoftext|>", kControl},
                                             {"<|im_end|>", 1},  // marked as text by mistake
                                             {"<stop>", kControl},
                                             {"<|im_start|>", kControl}});
  metadata.set("tokenizer.ggml.eot_token_id", std::uint64_t{263});
  const auto tokenizer = Tokenizer::from_metadata(metadata);
  for (TokenId id : {261, 262, 263}) EXPECT_TRUE(tokenizer->is_end_of_generation(id)) << id;
  for (TokenId id : {0, 260, 264}) EXPECT_FALSE(tokenizer->is_end_of_generation(id)) << id;
  EXPECT_EQ(tokenizer->piece(262), "");
}

TEST(ByteLevelBpe, EndOfAMessageDoesNotEndATurnOfSeveral) {
  const std::vector<TestToken> names = {
      {"<|end|>", kControl}, {"<|return|>", kControl}, {"<|call|>", kControl}};
  const auto harmony = Tokenizer::from_metadata(hello_vocabulary("gpt-4o", names));
  EXPECT_FALSE(harmony->is_end_of_generation(261));
  EXPECT_TRUE(harmony->is_end_of_generation(262));
  EXPECT_TRUE(harmony->is_end_of_generation(263));
  const auto plain = Tokenizer::from_metadata(hello_vocabulary("gpt-4o", {names[0]}));
  EXPECT_TRUE(plain->is_end_of_generation(261));
}

TEST(ByteLevelBpe, AByteWithoutATokenBecomesTheReplacementCharacter) {
  auto metadata = hello_vocabulary("qwen2");
  auto texts = *metadata.strings("tokenizer.ggml.tokens");
  texts[0xff] = "[unused]";
  metadata.set("tokenizer.ggml.tokens", gguf_array(texts));
  const auto tokenizer = Tokenizer::from_metadata(metadata);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xff\xfe", kPlain)), "a\ufffd\xfe");

  texts[0xbf] = "[unused2]";
  metadata.set("tokenizer.ggml.tokens", gguf_array(texts));
  const auto partial = Tokenizer::from_metadata(metadata);  // what it can spell, it spells
  EXPECT_EQ(partial->decode(partial->encode("a\xfe", kPlain)), "a\xfe");
  EXPECT_THROW(partial->encode("a\xff", kPlain), Error);
}

struct BadFile {
  const char* name;
  ErrorCode code;
  const char* mentions;
  void (*damage)(io::GgufMetadata&);
};

TEST(ByteLevelBpe, BadFilesAreNamed) {
  const std::vector<BadFile> rows = {
      {"unknown model", ErrorCode::kUnsupported, "t5",
       [](auto& m) { m.set("tokenizer.ggml.model", std::string("t5")); }},
      {"unknown pre", ErrorCode::kUnsupported, "supported are gpt-2, qwen2",
       [](auto& m) { m.set("tokenizer.ggml.pre", std::string("nope")); }},
      {"types too short", ErrorCode::kBadFile, "token_type",
       [](auto& m) {
         m.set("tokenizer.ggml.token_type", gguf_array(std::vector<std::int64_t>{1}));
       }},
      {"eos outside", ErrorCode::kBadFile, "eos_token_id",
       [](auto& m) { m.set("tokenizer.ggml.eos_token_id", std::uint64_t{261}); }},
      {"bos wanted but not named", ErrorCode::kBadFile, "add_bos_token",
       [](auto& m) { m.set("tokenizer.ggml.add_bos_token", true); }},
      {"merge without a space", ErrorCode::kBadFile, "merges[0]",
       [](auto& m) { m.set("tokenizer.ggml.merges", gguf_array(std::vector<std::string>{"he"})); }},
      {"merge into no token", ErrorCode::kBadFile, "merges[1]",
       [](auto& m) {
         m.set("tokenizer.ggml.merges", gguf_array(std::vector<std::string>{"h e", "x y"}));
       }},
      {"no tokens", ErrorCode::kBadFile, "tokenizer.ggml.tokens",
       [](auto& m) { m.set("tokenizer.ggml.tokens", gguf_array(std::vector<std::string>{})); }},
  };
  for (const BadFile& row : rows) {
    auto metadata = hello_vocabulary("qwen2");
    row.damage(metadata);
    try {
      Tokenizer::from_metadata(metadata);
      ADD_FAILURE() << row.name << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), row.code) << row.name;
      EXPECT_NE(std::string(error.what()).find(row.mentions), std::string::npos) << error.what();
    }
  }
}

TEST(ByteLevelBpe, AFileWithoutARuleIsCutByTheDefaultAndSaysSo) {
  auto metadata = hello_vocabulary("default");
  EXPECT_EQ(Tokenizer::from_metadata(metadata)->description(),
            "byte-level BPE (default), 261 tokens");
  io::GgufMetadata without;
  for (const auto& entry : metadata.entries())
    if (entry.key != "tokenizer.ggml.pre") without.set(entry.key, entry.value);
  EXPECT_EQ(Tokenizer::from_metadata(without)->description(),
            "byte-level BPE (default, the file names no other), 261 tokens");
}

}  // namespace
}  // namespace hearth::runtime
