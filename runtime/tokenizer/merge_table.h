// The merges of a BPE vocabulary: (left token, right token) → rank and merged token.
//
// 12 bytes for each merge and about 12 for its hash slots; 250,000 merges take about 5 MB.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/tokenizer/pair_merging.h"

namespace hearth::runtime {

class MergeTable {
 public:
  explicit MergeTable(std::size_t capacity);

  // The next merge in order of rank; of two for the same pair the first counts.
  void add(TokenId left, TokenId right, TokenId merged);
  std::optional<Merge> find(TokenId left, TokenId right) const;

 private:
  struct Entry {
    TokenId left, right, merged;
  };
  std::size_t slot_of(TokenId left, TokenId right) const;

  std::vector<Entry> entries_;        // by rank
  std::vector<std::uint32_t> slots_;  // ranks; open addressing, at most half full
};

}  // namespace hearth::runtime
