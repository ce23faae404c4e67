#include "runtime/tokenizer/vocabulary_tokenizer.h"

#include "base/check.h"
#include "base/error.h"
#include "base/units.h"

namespace hearth::runtime {
namespace {

constexpr Bytes kMaxText = kGiB;  // positions in a text and its symbols are 32-bit

// Whether sequences get the mark `id`: what the file says, else what its kind of tokenizer does.
bool adds_mark(const io::GgufMetadata& metadata, std::string_view key, std::optional<TokenId> id,
               bool by_default) {
  const auto stated = metadata.boolean(key);
  if (stated.value_or(false) && !id)
    throw_error(ErrorCode::kBadFile, "{} is true, but the file names no such token", key);
  return id && stated.value_or(by_default);
}

}  // namespace

VocabularyTokenizer::VocabularyTokenizer(const io::GgufMetadata& metadata,
                                         Vocabulary::Spelling spelling, std::string_view kind,
                                         bool adds_bos_by_default)
    : vocabulary_(metadata, spelling),
      special_tokens_(vocabulary_),
      description_(fmt::format("{}, {} tokens", kind, vocabulary_.size())),
      adds_bos_(adds_mark(metadata, "tokenizer.ggml.add_bos_token", bos(), adds_bos_by_default)),
      adds_eos_(adds_mark(metadata, "tokenizer.ggml.add_eos_token", eos(), false)) {}

std::vector<TokenId> VocabularyTokenizer::encode(std::string_view text,
                                                 const EncodeOptions& options) const {
  if (Bytes(text.size()) > kMaxText)
    throw_error(ErrorCode::kBadInput, "the text has {} bytes; at most {} can be encoded at once",
                text.size(), kMaxText.count);
  CHECK(options.plain.empty() || options.plain.size() == text.size());
  std::vector<TokenId> tokens;
  PairMerging merging;
  if (options.add_special && adds_bos_) tokens.push_back(*bos());
  special_tokens_.partition(
      text, options.parse_special, options.plain,
      [&](std::string_view stretch) { encode_text(stretch, merging, tokens); },
      [&](TokenId id) { tokens.push_back(id); });
  if (options.add_special && adds_eos_) tokens.push_back(*eos());
  return tokens;
}

std::string_view VocabularyTokenizer::piece(TokenId id, bool special) const {
  CHECK(id >= 0 && static_cast<std::size_t>(id) < size());
  return vocabulary_.piece(id, special);
}

}  // namespace hearth::runtime
