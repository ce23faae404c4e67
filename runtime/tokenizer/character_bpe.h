// BPE over characters (tokenizer.ggml.model = gemma4): lines are merged up from their characters by
// the ranks of a list of merges; what no token covers is spelt in bytes.
//
// A text is cut only between newlines and what is not; a run of newlines that is a token is that
// token. How spaces and bytes are written: runtime/tokenizer/character_pieces.h.
#pragma once

#include <vector>

#include "runtime/tokenizer/character_pieces.h"
#include "runtime/tokenizer/merge_table.h"
#include "runtime/tokenizer/vocabulary_tokenizer.h"

namespace hearth::runtime {

class CharacterBpe final : public VocabularyTokenizer {
 public:
  explicit CharacterBpe(const io::GgufMetadata& metadata);

 private:
  void encode_text(std::string_view text, PairMerging& merging,
                   std::vector<TokenId>& tokens) const override;
  void encode_run(std::string_view text, PairMerging& merging, std::vector<TokenId>& tokens) const;
  void read_merges(const std::vector<std::string>& merges);

  ByteTokens byte_tokens_;
  MergeTable merges_;
};

}  // namespace hearth::runtime
