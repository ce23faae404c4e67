// The tokens of a model and their roles, as the tokenizer.ggml.* keys define them.
//
// Immutable. All token bytes lie in one string, with one offset, one type and (on average) two
// hash slots for each token: a vocabulary of 250,000 takes about 6 MB.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "io/gguf.h"

namespace hearth::runtime {

inline constexpr TokenId kNoToken = -1;

enum class TokenType : std::uint8_t {  // the numbers are the file's
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

class Vocabulary {
 public:
  // What a token written as `text` in the file stands for, in bytes.
  using Spelling = std::string (*)(std::string_view text, TokenType);

  // Throws Error(kBadFile) for arrays that do not fit together and ids outside the vocabulary.
  Vocabulary(const io::GgufMetadata& metadata, Spelling spelling);

  std::size_t size() const { return types_.size(); }
  TokenType type(TokenId id) const { return types_[static_cast<std::size_t>(id)]; }
  std::string_view bytes(TokenId id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(arena_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  // As Tokenizer::piece.
  std::string_view piece(TokenId id, bool special) const;

  // The token that text may become: normal ones first, then user-defined ones, the smallest id.
  std::optional<TokenId> find(std::string_view bytes) const;
  std::size_t longest() const { return longest_; }  // bytes of the longest that find() knows

  std::optional<TokenId> bos() const { return bos_; }
  std::optional<TokenId> eos() const { return eos_; }
  std::optional<TokenId> unknown() const { return unknown_; }
  bool is_end_of_generation(TokenId id) const;

 private:
  void read_tokens(const io::GgufMetadata& metadata, Spelling spelling);
  void find_end_of_generation(const io::GgufMetadata& metadata);
  void index(TokenType type);
  std::size_t slot_of(std::string_view bytes) const;

  std::string arena_;
  std::vector<std::uint32_t> offsets_;  // size() + 1
  std::vector<TokenType> types_;
  std::vector<TokenId> slots_;  // open addressing; a power of two, at most half full
  std::size_t longest_ = 0;
  std::optional<TokenId> bos_, eos_, unknown_;
  std::vector<TokenId> end_of_generation_;  // ascending
};

// tokenizer.ggml.<name>, checked against `size`.
std::optional<TokenId> special_token_id(const io::GgufMetadata& metadata, std::string_view name,
                                        std::size_t size);

}  // namespace hearth::runtime
