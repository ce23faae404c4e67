// What all tokenizers share: the vocabulary, special tokens, and marks at the ends of a sequence.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/pair_merging.h"
#include "runtime/tokenizer/special_tokens.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/vocabulary.h"

namespace hearth::runtime {

class VocabularyTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const final;
  std::string_view piece(TokenId id, bool special) const final;
  std::size_t size() const final { return vocabulary_.size(); }
  std::string_view description() const final { return description_; }
  std::optional<TokenId> bos() const final { return vocabulary_.bos(); }
  std::optional<TokenId> eos() const final { return vocabulary_.eos(); }
  bool is_end_of_generation(TokenId id) const final { return vocabulary_.is_end_of_generation(id); }
  bool adds_bos() const final { return adds_bos_; }

 protected:
  VocabularyTokenizer(const io::GgufMetadata& metadata, Vocabulary::Spelling spelling,
                      std::string_view kind, bool adds_bos_by_default);

  // Appends the tokens of a stretch without special tokens. Stretches come in order and begin at
  // the start of the text or after a special token.
  virtual void encode_text(std::string_view text, PairMerging& merging,
                           std::vector<TokenId>& tokens) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  SpecialTokens special_tokens_;
  std::string description_;
  bool adds_bos_;
  bool adds_eos_;
};

}  // namespace hearth::runtime
