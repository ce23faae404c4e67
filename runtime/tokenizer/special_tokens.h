// Finds the tokens that are written out in a text: control tokens where the caller allows them,
// user-defined ones always.
//
// The leftmost one wins, and the longest among those that start there. Candidates are kept sorted
// and narrowed byte by byte, so a search costs at most the length of the longest token (times a
// logarithm) per byte of text, however many tokens share a beginning.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "runtime/tokenizer/vocabulary.h"

namespace hearth::runtime {

class SpecialTokens {
 public:
  explicit SpecialTokens(const Vocabulary& vocabulary);  // borrowed

  // Calls `on_text` with each non-empty stretch between special tokens and `on_token` with each of
  // those, in order. Control tokens hold no byte for which `plain` is not 0; it may be empty.
  void partition(std::string_view text, bool parse_control, std::string_view plain,
                 FunctionRef<void(std::string_view)> on_text,
                 FunctionRef<void(TokenId)> on_token) const;

 private:
  std::optional<TokenId> longest_at(std::string_view text, std::size_t most_control) const;

  const Vocabulary* vocabulary_;
  std::vector<TokenId> sorted_;                  // by bytes, then id
  std::array<std::uint32_t, 257> first_byte_{};  // sorted_[first_byte_[b]..first_byte_[b + 1])
};

}  // namespace hearth::runtime
