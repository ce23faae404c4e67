// Conversations as tokens: control tokens come from the template alone, and BOS comes once.
#include "runtime/chat/chat_template.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "runtime/chat/reply_splitter.h"
#include "tests/runtime/support/vocabularies.h"

namespace hearth::runtime {
namespace {

constexpr TokenId kBegin = 256, kEnd = 257, kBos = 258, kThink = 259;

io::GgufMetadata vocabulary(bool adds_bos) {
  io::GgufMetadata metadata = byte_level_vocabulary(
      "qwen2", {}, {{"<|im_start|>", 3}, {"<|im_end|>", 3}, {"<bos>", 3}, {"<think>", 4}});
  metadata.set("tokenizer.ggml.bos_token_id", std::uint64_t{kBos});
  metadata.set("tokenizer.ggml.eos_token_id", std::uint64_t{kEnd});
  metadata.set("tokenizer.ggml.add_bos_token", adds_bos);
  return metadata;
}

std::vector<TokenId> bytes(std::string_view text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

std::vector<TokenId> operator+(std::vector<TokenId> a, const std::vector<TokenId>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<TokenId> encode(bool adds_bos, std::string_view source,
                            const std::vector<ChatMessage>& messages) {
  const auto tokenizer = Tokenizer::from_metadata(vocabulary(adds_bos));
  return ChatTemplate(*tokenizer, source, "test").prompt(messages, {}).tokens;
}

const std::string kChatMl = *find_chat_template({}, "chatml");

TEST(ChatTemplate, OnlyTheTemplateWritesControlTokens) {
  const auto tokens = encode(false, kChatMl, {{"user", "a<|im_end|>b"}});
  EXPECT_EQ(tokens, std::vector<TokenId>{kBegin} + bytes("user\na<|im_end|>b") + std::vector{kEnd} +
                        bytes("\n") + std::vector{kBegin} + bytes("assistant\n"));
}

TEST(ChatTemplate, ATokenHalfOfAMessageIsNone) {
  EXPECT_EQ(encode(false, "<|im{{ messages[0].content }}end|>", {{"user", "_"}}),
            bytes("<|im_end|>"));
  EXPECT_EQ(encode(false, "<|im{{ '_' }}end|>{{ messages[0].content }}<|im_end|>", {{"user", ""}}),
            (std::vector{kEnd, kEnd}));
}

TEST(ChatTemplate, UserDefinedTokensAreTextOfTheModel) {
  EXPECT_EQ(encode(false, "{{ messages[0].content }}", {{"user", "<think>"}}),
            std::vector<TokenId>{kThink});
}

TEST(ChatTemplate, BosComesOnce) {
  const std::vector<TokenId> once = std::vector<TokenId>{kBos} + bytes("x");
  EXPECT_EQ(encode(true, "x", {}), once);
  EXPECT_EQ(encode(true, "{{ bos_token }}x", {}), once);
  EXPECT_EQ(encode(false, "{{ bos_token }}x", {}), once);
  EXPECT_EQ(encode(false, "x", {}), bytes("x"));
}

TEST(ChatTemplate, TheFileHasNamedVariants) {
  io::GgufMetadata metadata;
  EXPECT_FALSE(find_chat_template(metadata, ""));
  EXPECT_FALSE(find_chat_template(metadata, "tool_use"));
  metadata.set("tokenizer.chat_template", std::string("one"));
  metadata.set("tokenizer.chat_template.tool_use", std::string("two"));
  EXPECT_EQ(find_chat_template(metadata, ""), "one");
  EXPECT_EQ(find_chat_template(metadata, "tool_use"), "two");
}

TEST(ChatTemplate, ThinkingIsAskedForWhereItIsSaid) {
  const auto tokenizer = Tokenizer::from_metadata(vocabulary(false));
  const ChatTemplate chat(*tokenizer, "{{ enable_thinking if enable_thinking is defined }}",
                          "test");
  EXPECT_EQ(chat.prompt({}, {}).text, "");
  EXPECT_EQ(chat.prompt({}, {.enable_thinking = false}).text, "False");
}

// "t:..." for thinking, "a:..." for the answer, when pieces come one byte or token at a time.
std::string split(std::string_view prompt, const std::vector<std::string>& pieces) {
  std::string all;
  bool last = false;
  ReplySplitter splitter(prompt, [&](std::string_view text, bool thinking) {
    if (all.empty() || thinking != last) all += thinking ? "[t:" : "[a:";
    last = thinking;
    all += text;
  });
  for (const std::string& piece : pieces)
    splitter.add(piece, piece.size() > 2 && piece.starts_with("<|"));
  splitter.finish();
  return all;
}

TEST(ReplySplitter, MarksDivideThinkingFromTheAnswer) {
  EXPECT_EQ(split("x", {"a", "b"}), "[a:ab");
  EXPECT_EQ(split("x", {"<think>", "a", "</think>", "b"}), "[t:a[a:b");
  EXPECT_EQ(split("x", {"<", "th", "ink>a</", "think", ">b"}), "[t:a[a:b");
  EXPECT_EQ(split("...<think>\n", {"a", "</think>", "b"}), "[t:a[a:b");
  EXPECT_EQ(split("x", {"1 <", " 2 <th", "e"}), "[a:1 < 2 <the");
  EXPECT_EQ(split("x", {"a<", "think"}), "[a:a<think");
}

TEST(ReplySplitter, ChannelsAreTokensOfTheirOwn) {
  EXPECT_EQ(split("x", {"<|channel|>", "analysis", "<|message|>", "hm", "<|end|>", "<|start|>",
                        "assistant", "<|channel|>", "final", "<|message|>", "yes"}),
            "[t:hm[a:yes");
  EXPECT_EQ(split("x", {"<|channel|>", "final", "<|message|>", "yes"}), "[a:yes");
  EXPECT_EQ(split("x", {"a", "<|pad|>", "b"}), "[a:ab");
}

}  // namespace
}  // namespace hearth::runtime
