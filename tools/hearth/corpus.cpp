#include "tools/hearth/corpus.h"

#include <xxhash.h>

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "tools/hearth/prompt_text.h"

namespace hearth::tools {
namespace {

// Encoding takes forty times the size of a text, so a long one is encoded in pieces of lines.
constexpr std::size_t kPieceBytes = 256 << 10;

// The next piece from the front of `text`, up to the last end of a line in it.
std::string_view take_piece(std::string_view& text) {
  std::size_t length = std::min(text.size(), kPieceBytes);
  if (length < text.size()) {
    const std::size_t end = text.rfind('\n', length - 1);
    if (end != text.npos) length = end + 1;
  }
  const std::string_view piece = text.substr(0, length);
  text.remove_prefix(length);
  return piece;
}

}  // namespace

Corpus::Corpus(const std::vector<std::string>& files, const runtime::Tokenizer& tokenizer,
               const Limits& limits) {
  CHECK_GE(limits.chunk, 2u);
  if (tokenizer.adds_bos()) bos_ = tokenizer.bos();
  for (const std::string& file : files) add_text(read_text(file), tokenizer, limits);
  if (tokens_.empty())
    throw_error(ErrorCode::kBadInput,
                "the texts have no two tokens to be run; give a longer one with --file");
}

std::uint64_t Corpus::room(const Limits& limits) const {
  return limits.most_tokens.value_or(UINT64_MAX) - tokens_.size();
}

void Corpus::add_text(std::string_view text, const runtime::Tokenizer& tokenizer,
                      const Limits& limits) {
  std::vector<TokenId> encoded;
  while (!text.empty() && encoded.size() < room(limits)) {
    const std::vector<TokenId> piece =
        tokenizer.encode(take_piece(text), {.add_special = false, .parse_special = false});
    encoded.insert(encoded.end(), piece.begin(), piece.end());
  }
  cut(encoded, limits);
}

void Corpus::cut(std::span<const TokenId> text, const Limits& limits) {
  const std::uint64_t begun = bos_ ? 1 : 0;
  while (!text.empty()) {
    const std::uint64_t all =
        std::min({begun + text.size(), std::uint64_t{limits.chunk}, room(limits)});
    if (all < 2) return;
    if (bos_) tokens_.push_back(*bos_);
    const auto own = text.first(all - begun);
    tokens_.insert(tokens_.end(), own.begin(), own.end());
    ends_.push_back(tokens_.size());
    text = text.subspan(own.size());
  }
}

std::span<const TokenId> Corpus::chunk(std::size_t index) const {
  CHECK_LT(index, ends_.size());
  return std::span(tokens_).subspan(tokens_before(index), ends_[index] - tokens_before(index));
}

std::uint64_t Corpus::fingerprint() const {
  const std::uint64_t cuts = XXH3_64bits(ends_.data(), ends_.size() * sizeof(ends_[0]));
  return XXH3_64bits_withSeed(tokens_.data(), tokens_.size() * sizeof(tokens_[0]), cuts);
}

}  // namespace hearth::tools
