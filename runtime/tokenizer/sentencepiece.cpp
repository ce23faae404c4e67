#include "runtime/tokenizer/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/utf8.h"

namespace hearth::runtime {
SentencePiece::SentencePiece(const io::GgufMetadata& metadata)
    : VocabularyTokenizer(metadata, spell_piece, "SentencePiece", true),
      adds_space_prefix_(metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true)),
      byte_tokens_(vocabulary()) {
  read_scores(metadata);
}

void SentencePiece::read_scores(const io::GgufMetadata& metadata) {
  const auto scores = metadata.reals("tokenizer.ggml.scores");
  if (!scores || scores->size() != size())
    throw_error(ErrorCode::kBadFile,
                "tokenizer.ggml.scores has {} entries for {} tokens; convert the model again",
                scores ? scores->size() : 0, size());
  std::vector<double> order = *scores;
  if (std::any_of(order.begin(), order.end(), [](double score) { return std::isnan(score); }))
    throw_error(ErrorCode::kBadFile, "tokenizer.ggml.scores holds a NaN; convert the model again");
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  ranks_.reserve(scores->size());
  for (double score : *scores)
    ranks_.push_back(static_cast<std::uint32_t>(
        std::lower_bound(order.begin(), order.end(), score, std::greater<>()) - order.begin()));
}

void SentencePiece::encode_text(std::string_view text, PairMerging& merging,
                                std::vector<TokenId>& tokens) const {
  std::string prefixed;
  if (adds_space_prefix_) {
    prefixed.reserve(text.size() + 1);
    text = prefixed.append(1, ' ').append(text);
  }
  merging.start(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(valid_utf8_length(text.substr(i)), 1);
    merging.append(static_cast<std::uint32_t>(i),
                   vocabulary().find(text.substr(i, length)).value_or(kNoToken));
    i += length;
  }
  merging.run(
      static_cast<std::uint32_t>(text.size()),
      [&](const Pair& pair) -> std::optional<Merge> {
        const auto token = vocabulary().find(text.substr(pair.begin, pair.end - pair.begin));
        if (!token) return std::nullopt;
        return Merge{ranks_[static_cast<std::size_t>(*token)], *token};
      },
      [&](TokenId token, std::uint32_t begin, std::uint32_t end) {
        if (token != kNoToken) return tokens.push_back(token);
        byte_tokens_.spell_out(text.substr(begin, end - begin), tokens);
      });
}

std::string SentencePiece::decode(const std::vector<TokenId>& tokens, bool special) const {
  std::string text;
  bool prefix_due = adds_space_prefix_;
  for (TokenId id : tokens) {
    std::string_view bytes = piece(id, special);
    const TokenType type = vocabulary().type(id);
    if (type == TokenType::kControl || type == TokenType::kUserDefined) {
      prefix_due = adds_space_prefix_;
    } else {
      if (prefix_due && bytes.starts_with(' ')) bytes.remove_prefix(1);
      prefix_due = false;
    }
    text += bytes;
  }
  return text;
}

}  // namespace hearth::runtime
