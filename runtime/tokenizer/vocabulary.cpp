#include "runtime/tokenizer/vocabulary.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/error.h"

namespace hearth::runtime {
namespace {

// Ends of a turn by name: files often name only one of a model's several.
constexpr std::array<std::string_view, 22> kEndNames = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "</s>",
    "<eos>",
    "<end_of_turn>",
    "<turn|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|EOT|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
};

std::vector<TokenType> read_types(const io::GgufMetadata& metadata, std::size_t count) {
  const auto numbers = metadata.integers("tokenizer.ggml.token_type");
  if (!numbers) return std::vector<TokenType>(count, TokenType::kNormal);
  if (numbers->size() != count)
    throw_error(ErrorCode::kBadFile,
                "tokenizer.ggml.token_type has {} entries for {} tokens; convert the model again",
                numbers->size(), count);
  std::vector<TokenType> types;
  types.reserve(count);
  for (std::int64_t number : *numbers)
    types.push_back(number >= 0 && number <= 6 ? static_cast<TokenType>(number)
                                               : TokenType::kUndefined);
  return types;
}

}  // namespace

std::optional<TokenId> special_token_id(const io::GgufMetadata& metadata, std::string_view name,
                                        std::size_t size) {
  const std::string key = "tokenizer.ggml." + std::string(name);
  const auto id = metadata.unsigned_integer(key);
  if (!id) return std::nullopt;
  if (*id >= size)
    throw_error(ErrorCode::kBadFile, "{} is {}, but there are {} tokens; convert the model again",
                key, *id, size);
  return static_cast<TokenId>(*id);
}

Vocabulary::Vocabulary(const io::GgufMetadata& metadata, Spelling spelling) {
  read_tokens(metadata, spelling);
  slots_.assign(std::bit_ceil(2 * size() + 2), kNoToken);
  index(TokenType::kNormal);
  index(TokenType::kUserDefined);
  bos_ = special_token_id(metadata, "bos_token_id", size());
  eos_ = special_token_id(metadata, "eos_token_id", size());
  unknown_ = special_token_id(metadata, "unknown_token_id", size());
  find_end_of_generation(metadata);
}

void Vocabulary::read_tokens(const io::GgufMetadata& metadata, Spelling spelling) {
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty())
    throw_error(ErrorCode::kBadFile,
                "tokenizer.ggml.tokens is missing or empty; the file holds no tokenizer");
  if (tokens->size() > static_cast<std::size_t>(std::numeric_limits<TokenId>::max() / 4))
    throw_error(ErrorCode::kBadFile, "tokenizer.ggml.tokens has {} entries, more than a model can",
                tokens->size());
  types_ = read_types(metadata, tokens->size());
  offsets_.reserve(tokens->size() + 1);
  offsets_.push_back(0);
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    // A turn's end that is marked as plain text would be shown to the user.
    const std::string& text = (*tokens)[i];
    if (types_[i] == TokenType::kNormal &&
        std::find(kEndNames.begin(), kEndNames.end(), text) != kEndNames.end())
      types_[i] = TokenType::kControl;
    arena_ += spelling(text, types_[i]);
    if (arena_.size() > std::numeric_limits<std::uint32_t>::max())
      throw_error(ErrorCode::kBadFile, "tokenizer.ggml.tokens holds more than 4 GiB of text");
    offsets_.push_back(static_cast<std::uint32_t>(arena_.size()));
  }
  arena_.shrink_to_fit();
}

void Vocabulary::find_end_of_generation(const io::GgufMetadata& metadata) {
  auto& ends = end_of_generation_;
  if (eos_) ends.push_back(*eos_);
  for (std::string_view key : {"eot_token_id", "eom_token_id"})
    if (const auto id = special_token_id(metadata, key, size())) ends.push_back(*id);

  std::optional<TokenId> end, call, other;
  for (TokenId id = 0; static_cast<std::size_t>(id) < size(); ++id) {
    if (type(id) != TokenType::kControl && type(id) != TokenType::kUserDefined) continue;
    const std::string_view text = bytes(id);
    if (std::find(kEndNames.begin(), kEndNames.end(), text) == kEndNames.end()) continue;
    ends.push_back(id);
    if (text == "<|end|>") end = id;
    if (text == "<|call|>" || text == "<|calls|>") call = id;
    if (text == "<|return|>" || text == "<|flush|>") other = id;
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  // In formats with channels (harmony), <|end|> closes one message of a turn that goes on.
  if (end && call && other && end != eos_) ends.erase(std::find(ends.begin(), ends.end(), *end));
}

bool Vocabulary::is_end_of_generation(TokenId id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

std::string_view Vocabulary::piece(TokenId id, bool special) const {
  switch (type(id)) {
    case TokenType::kUnknown:
    case TokenType::kControl:
    case TokenType::kUnused:
      return special ? bytes(id) : std::string_view();
    default:
      return bytes(id);
  }
}

// The slot that holds `bytes`, or the free one where it belongs.
std::size_t Vocabulary::slot_of(std::string_view bytes_wanted) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = XXH3_64bits(bytes_wanted.data(), bytes_wanted.size()) & mask;
  while (slots_[slot] != kNoToken && bytes(slots_[slot]) != bytes_wanted) slot = (slot + 1) & mask;
  return slot;
}

void Vocabulary::index(TokenType wanted) {
  for (TokenId id = 0; static_cast<std::size_t>(id) < size(); ++id) {
    if (type(id) != wanted || bytes(id).empty()) continue;
    TokenId& slot = slots_[slot_of(bytes(id))];
    if (slot == kNoToken) slot = id;
    longest_ = std::max(longest_, bytes(id).size());
  }
}

std::optional<TokenId> Vocabulary::find(std::string_view bytes_wanted) const {
  if (bytes_wanted.size() > longest_) return std::nullopt;
  const TokenId id = slots_[slot_of(bytes_wanted)];
  if (id == kNoToken) return std::nullopt;
  return id;
}

}  // namespace hearth::runtime
