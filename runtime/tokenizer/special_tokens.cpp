#include "runtime/tokenizer/special_tokens.h"

#include <algorithm>
#include <utility>

namespace hearth::runtime {
namespace {

bool is_special(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

unsigned char byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

}  // namespace

SpecialTokens::SpecialTokens(const Vocabulary& vocabulary) : vocabulary_(&vocabulary) {
  for (TokenId id = 0; static_cast<std::size_t>(id) < vocabulary.size(); ++id) {
    if (!is_special(vocabulary.type(id)) || vocabulary.bytes(id).empty()) continue;
    sorted_.push_back(id);
    ++first_byte_[byte_at(vocabulary.bytes(id), 0) + 1u];
  }
  std::sort(sorted_.begin(), sorted_.end(), [&](TokenId a, TokenId b) {
    return std::pair(vocabulary.bytes(a), a) < std::pair(vocabulary.bytes(b), b);
  });
  for (std::size_t b = 0; b < 256; ++b) first_byte_[b + 1] += first_byte_[b];
}

// The longest admitted token that starts `text`: of control tokens those of at most so many bytes.
std::optional<TokenId> SpecialTokens::longest_at(std::string_view text,
                                                 std::size_t most_control) const {
  const auto bytes = [&](TokenId id) { return vocabulary_->bytes(id); };
  std::optional<TokenId> longest;
  auto low = sorted_.begin() + first_byte_[byte_at(text, 0)];
  auto high = sorted_.begin() + first_byte_[byte_at(text, 0) + 1u];
  // All of [low, high) begin with the first `depth` bytes of the text.
  for (std::size_t depth = 1; low != high; ++depth) {
    bool found = false;
    for (; low != high && bytes(*low).size() == depth; ++low) {
      const bool admitted =
          depth <= most_control || vocabulary_->type(*low) == TokenType::kUserDefined;
      if (admitted && !std::exchange(found, true)) longest = *low;
    }
    if (depth == text.size()) break;
    const unsigned char next = byte_at(text, depth);
    low = std::partition_point(low, high,
                               [&](TokenId id) { return byte_at(bytes(id), depth) < next; });
    high = std::partition_point(low, high,
                                [&](TokenId id) { return byte_at(bytes(id), depth) == next; });
  }
  return longest;
}

void SpecialTokens::partition(std::string_view text, bool parse_control, std::string_view plain,
                              FunctionRef<void(std::string_view)> on_text,
                              FunctionRef<void(TokenId)> on_token) const {
  std::size_t start = 0;  // of the stretch that has not been reported
  std::size_t position = 0;
  std::size_t next_plain = parse_control && !plain.empty() ? 0 : text.size();
  while (position < text.size()) {
    while (next_plain < position || (next_plain < text.size() && plain[next_plain] == 0))
      ++next_plain;
    const std::size_t most_control = parse_control ? next_plain - position : 0;
    const auto token = longest_at(text.substr(position), most_control);
    if (!token) {
      ++position;
      continue;
    }
    if (position > start) on_text(text.substr(start, position - start));
    on_token(*token);
    position += vocabulary_->bytes(*token).size();
    start = position;
  }
  if (start < text.size()) on_text(text.substr(start));
}

}  // namespace hearth::runtime
