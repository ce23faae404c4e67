// Byte-level BPE (tokenizer.ggml.model = gpt2): pre-tokens are merged up from their bytes.
//
// Where tokenizer.ggml.pre is absent, the rule "default" cuts the text, and the description says
// so.
#pragma once

#include <array>
#include <vector>

#include "runtime/tokenizer/merge_table.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/vocabulary_tokenizer.h"

namespace hearth::runtime {

class ByteLevelBpe final : public VocabularyTokenizer {
 public:
  explicit ByteLevelBpe(const io::GgufMetadata& metadata);

 private:
  ByteLevelBpe(const io::GgufMetadata& metadata, const SplitRule& rule);

  void encode_text(std::string_view text, PairMerging& merging,
                   std::vector<TokenId>& tokens) const override;
  void encode_pre_token(std::string_view text, PairMerging& merging,
                        std::vector<TokenId>& tokens) const;
  void append_replacement(std::uint32_t at, char byte, PairMerging& merging) const;
  void read_byte_tokens();
  void read_merges(const io::GgufMetadata& metadata);

  PreTokenizer pre_tokenizer_;
  bool whole_tokens_first_;
  std::array<TokenId, 256> byte_tokens_;  // kNoToken where the vocabulary lacks one
  std::array<TokenId, 3> replacement_;    // the bytes of U+FFFD
  MergeTable merges_;
};

}  // namespace hearth::runtime
