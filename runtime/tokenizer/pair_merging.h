// Merges neighbouring symbols, the best pair first: the common core of BPE and SentencePiece.
//
// n symbols take O(n log n) time and at most 32 n bytes (16 for the linked list, 8 for each of the
// at most 2 n candidates), whatever the text. An object is scratch memory for one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"

namespace hearth::runtime {

// A pair of neighbours: their tokens, and the bytes of the text they cover.
struct Pair {
  TokenId left;
  TokenId right;
  std::uint32_t begin;
  std::uint32_t end;
};

struct Merge {
  std::uint32_t rank;  // the smallest goes first, the leftmost among equals
  TokenId token;       // what the pair becomes
};

class PairMerging {
 public:
  using FindMerge = FunctionRef<std::optional<Merge>(const Pair&)>;

  // Starts over, with room for `count` symbols.
  void start(std::size_t count) {
    symbols_.clear();
    symbols_.reserve(count + 1);  // and the end of the text
  }
  // Appends a symbol that starts at byte `begin`; any value may stand for "no token of its own".
  void append(std::uint32_t begin, TokenId token);
  // Merges until `find_merge` knows no pair, then calls `emit` with each token and where its bytes
  // begin and end. `text_size` is the end of the last symbol.
  void run(std::uint32_t text_size, FindMerge find_merge,
           FunctionRef<void(TokenId, std::uint32_t begin, std::uint32_t end)> emit);

 private:
  struct Symbol {
    std::uint32_t begin;
    TokenId token;
    std::uint32_t previous;
    std::uint32_t next;  // kGone once it was merged into the one before
  };

  // Ascending by (rank, position). Candidates known at the start are sorted once and taken from the
  // front; those that merging adds go to a heap, which becomes the sorted run when that is used up.
  // In a long run of one character nearly all come in order, so that memory is walked, not jumped.
  class Candidates {
   public:
    void clear();
    void add_initial(std::uint64_t candidate) { run_.push_back(candidate); }
    void sort_initial();
    void add(std::uint64_t candidate);
    bool empty() const { return taken_ == run_.size() && heap_.empty(); }
    std::uint64_t take();

   private:
    std::vector<std::uint64_t> run_;
    std::size_t taken_ = 0;
    std::vector<std::uint64_t> heap_;
  };

  void collect(FindMerge find_merge);
  void propose(std::uint32_t left, FindMerge find_merge);
  std::optional<Pair> pair_at(std::uint32_t left) const;

  std::vector<Symbol> symbols_;
  Candidates candidates_;
};

}  // namespace hearth::runtime
