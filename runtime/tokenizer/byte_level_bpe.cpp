#include "runtime/tokenizer/byte_level_bpe.h"

#include "base/error.h"
#include "runtime/tokenizer/byte_alphabet.h"

namespace hearth::runtime {
namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";

const SplitRule& rule_of(const io::GgufMetadata& metadata) {
  const std::string_view name = metadata.string("tokenizer.ggml.pre").value_or("default");
  const SplitRule* rule = find_split_rule(name);
  if (!rule)
    throw_error(ErrorCode::kUnsupported, "tokenizer.ggml.pre is \"{}\"; supported are {}",
                printable(name), known_split_rules());
  return *rule;
}

// Control and user-defined tokens are written as they are; so are stray ones outside the alphabet.
std::string spell(std::string_view written, TokenType type) {
  if (type == TokenType::kNormal || type == TokenType::kUndefined)
    if (auto bytes = bytes_from_alphabet(written)) return *std::move(bytes);
  return std::string(written);
}

std::size_t merge_count(const io::GgufMetadata& metadata) {
  const auto* merges = metadata.strings(kMergesKey);
  return merges ? merges->size() : 0;
}

}  // namespace

ByteLevelBpe::ByteLevelBpe(const io::GgufMetadata& metadata)
    : ByteLevelBpe(metadata, rule_of(metadata)) {}

ByteLevelBpe::ByteLevelBpe(const io::GgufMetadata& metadata, const SplitRule& rule)
    : VocabularyTokenizer(
          metadata, spell,
          fmt::format("byte-level BPE ({}{})", rule.name,
                      metadata.has("tokenizer.ggml.pre") ? "" : ", the file names no other"),
          rule.adds_bos),
      pre_tokenizer_(rule),
      whole_tokens_first_(rule.whole_tokens_first),
      merges_(merge_count(metadata)) {
  read_byte_tokens();
  read_merges(metadata);
}

void ByteLevelBpe::read_byte_tokens() {
  for (std::size_t i = 0; i < 256; ++i) {
    const char byte = static_cast<char>(i);
    byte_tokens_[i] = vocabulary().find(std::string_view(&byte, 1)).value_or(kNoToken);
  }
  replacement_ = {byte_tokens_[0xef], byte_tokens_[0xbf], byte_tokens_[0xbd]};
}

void ByteLevelBpe::read_merges(const io::GgufMetadata& metadata) {
  const auto* merges = metadata.strings(kMergesKey);
  if (!merges)
    throw_error(ErrorCode::kBadFile, "{} is missing; convert the model again", kMergesKey);
  for (std::size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string& merge = (*merges)[rank];
    const std::size_t space = merge.find(' ', 1);
    const auto token = [&](std::string_view written) {
      const auto id = vocabulary().find(spell(written, TokenType::kNormal));
      if (!id || space == std::string::npos)
        throw_error(ErrorCode::kBadFile,
                    "{}[{}] is \"{}\", which does not join two tokens into a third; convert the "
                    "model again",
                    kMergesKey, rank, printable(merge));
      return *id;
    };
    const std::string left = merge.substr(0, space);
    const std::string right = space == std::string::npos ? "" : merge.substr(space + 1);
    merges_.add(token(left), token(right), token(left + right));
  }
}

void ByteLevelBpe::encode_text(std::string_view text, PairMerging& merging,
                               std::vector<TokenId>& tokens) const {
  pre_tokenizer_.split(
      text, [&](std::string_view pre_token) { encode_pre_token(pre_token, merging, tokens); });
}

// Vocabularies that spell only a part of all bytes are valid until a text needs the rest.
void ByteLevelBpe::append_replacement(std::uint32_t at, char byte, PairMerging& merging) const {
  for (const TokenId part : replacement_) {
    if (part == kNoToken)
      throw_error(ErrorCode::kBadInput,
                  "the model's vocabulary has no token for byte {:02x} of the text, nor for U+FFFD "
                  "to replace it; leave it out",
                  static_cast<unsigned char>(byte));
    merging.append(at, part);
  }
}

void ByteLevelBpe::encode_pre_token(std::string_view text, PairMerging& merging,
                                    std::vector<TokenId>& tokens) const {
  if (whole_tokens_first_) {
    if (const auto token = vocabulary().find(text)) return tokens.push_back(*token);
  }
  merging.start(text.size());
  for (std::uint32_t i = 0; i < text.size(); ++i) {
    const TokenId token = byte_tokens_[static_cast<unsigned char>(text[i])];
    if (token != kNoToken) {
      merging.append(i, token);
    } else {
      append_replacement(i, text[i], merging);
    }
  }
  merging.run(
      static_cast<std::uint32_t>(text.size()),
      [&](const Pair& pair) { return merges_.find(pair.left, pair.right); },
      [&](TokenId token, std::uint32_t, std::uint32_t) { tokens.push_back(token); });
}

}  // namespace hearth::runtime
