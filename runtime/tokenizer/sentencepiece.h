// SentencePiece BPE (tokenizer.ggml.model = llama): characters are merged up by the scores of the
// tokens they form; what no token covers is spelt in bytes.
//
// Files write a space in a token as U+2581. Here tokens hold the space itself, so a text is not
// rewritten; a literal U+2581 in a text has no token, is spelt in bytes, and so survives decoding.
#pragma once

#include <array>
#include <vector>

#include "runtime/tokenizer/vocabulary_tokenizer.h"

namespace hearth::runtime {

class SentencePiece final : public VocabularyTokenizer {
 public:
  explicit SentencePiece(const io::GgufMetadata& metadata);
  std::string decode(const std::vector<TokenId>& tokens, bool special) const override;

 private:
  void encode_text(std::string_view text, PairMerging& merging,
                   std::vector<TokenId>& tokens) const override;
  void spell_out(std::string_view text, std::vector<TokenId>& tokens) const;
  void read_scores(const io::GgufMetadata& metadata);
  void read_byte_tokens();

  bool adds_space_prefix_;                // at the start of a text and after each special token
  std::vector<std::uint32_t> ranks_;      // of a token: 0 for the best score, equal for equal ones
  std::array<TokenId, 256> byte_tokens_;  // all kNoToken, or none
};

}  // namespace hearth::runtime
