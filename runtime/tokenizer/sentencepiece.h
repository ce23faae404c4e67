// SentencePiece BPE (tokenizer.ggml.model = llama): characters are merged up by the scores of the
// tokens they form; what no token covers is spelt in bytes.
//
// How spaces and bytes are written: runtime/tokenizer/character_pieces.h.
#pragma once

#include <vector>

#include "runtime/tokenizer/character_pieces.h"
#include "runtime/tokenizer/vocabulary_tokenizer.h"

namespace hearth::runtime {

class SentencePiece final : public VocabularyTokenizer {
 public:
  explicit SentencePiece(const io::GgufMetadata& metadata);
  std::string decode(const std::vector<TokenId>& tokens, bool special) const override;

 private:
  void encode_text(std::string_view text, PairMerging& merging,
                   std::vector<TokenId>& tokens) const override;
  void read_scores(const io::GgufMetadata& metadata);

  bool adds_space_prefix_;            // at the start of a text and after each special token
  std::vector<std::uint32_t> ranks_;  // of a token: 0 for the best score, equal for equal ones
  ByteTokens byte_tokens_;
};

}  // namespace hearth::runtime
