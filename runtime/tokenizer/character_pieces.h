// What vocabularies of characters share (SentencePiece, and the BPE of Gemma 4): how their tokens
// are written, and the tokens of single bytes.
//
// Files write a space in a token as U+2581. Here tokens hold the space itself, so a text is not
// rewritten; a literal U+2581 in a text has no token, is spelt in bytes, and so survives decoding.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/vocabulary.h"

namespace hearth::runtime {

// The bytes that a token stands for. Throws Error(kBadFile) for a byte token of another form than
// <0x0A>.
std::string spell_piece(std::string_view written, TokenType type);

class ByteTokens {
 public:
  // Throws Error(kBadFile) where the vocabulary can spell neither all bytes nor the unknown token.
  explicit ByteTokens(const Vocabulary& vocabulary);

  // Appends the tokens of text that no other token covers.
  void spell_out(std::string_view text, std::vector<TokenId>& tokens) const;

 private:
  std::array<TokenId, 256> tokens_;  // all kNoToken, or none
  TokenId unknown_;
};

}  // namespace hearth::runtime
