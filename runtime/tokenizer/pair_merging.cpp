#include "runtime/tokenizer/pair_merging.h"

#include <algorithm>
#include <functional>

namespace hearth::runtime {
namespace {

constexpr std::uint32_t kGone = 0xffffffff;

std::uint64_t candidate(std::uint32_t rank, std::uint32_t position) {
  return static_cast<std::uint64_t>(rank) << 32 | position;
}

}  // namespace

void PairMerging::Candidates::clear() {
  run_.clear();
  taken_ = 0;
  heap_.clear();
}

void PairMerging::Candidates::sort_initial() { std::sort(run_.begin(), run_.end()); }

void PairMerging::Candidates::add(std::uint64_t candidate) {
  heap_.push_back(candidate);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

std::uint64_t PairMerging::Candidates::take() {
  if (taken_ == run_.size()) {
    run_.swap(heap_);
    heap_.clear();
    taken_ = 0;
    std::sort(run_.begin(), run_.end());
  }
  if (heap_.empty() || run_[taken_] < heap_.front()) return run_[taken_++];
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  const std::uint64_t smallest = heap_.back();
  heap_.pop_back();
  return smallest;
}

void PairMerging::append(std::uint32_t begin, TokenId token) {
  const auto index = static_cast<std::uint32_t>(symbols_.size());
  symbols_.push_back({begin, token, index - 1, index + 1});
}

// The pair that starts at symbol `left`, if that still stands and is not the last one. The symbol
// that ends the list stands for the end of the text.
std::optional<Pair> PairMerging::pair_at(std::uint32_t left) const {
  const Symbol& first = symbols_[left];
  if (first.next == kGone) return std::nullopt;
  const Symbol& second = symbols_[first.next];
  if (second.next == symbols_.size()) return std::nullopt;
  return Pair{first.token, second.token, first.begin, symbols_[second.next].begin};
}

void PairMerging::collect(FindMerge find_merge) {
  candidates_.clear();
  for (std::uint32_t left = 0; left + 2 < symbols_.size(); ++left)
    if (const auto merge = find_merge(*pair_at(left)))
      candidates_.add_initial(candidate(merge->rank, left));
  candidates_.sort_initial();
}

void PairMerging::propose(std::uint32_t left, FindMerge find_merge) {
  if (const auto pair = pair_at(left))
    if (const auto merge = find_merge(*pair)) candidates_.add(candidate(merge->rank, left));
}

void PairMerging::run(std::uint32_t text_size, FindMerge find_merge,
                      FunctionRef<void(TokenId, std::uint32_t, std::uint32_t)> emit) {
  append(text_size, 0);
  const auto end = static_cast<std::uint32_t>(symbols_.size() - 1);
  collect(find_merge);
  while (!candidates_.empty()) {
    const std::uint64_t best = candidates_.take();
    const auto left = static_cast<std::uint32_t>(best);
    // A candidate is stale if one of its symbols was merged since; what stands there now counts if
    // it ranks the same.
    const auto pair = pair_at(left);
    if (!pair) continue;
    const auto merge = find_merge(*pair);
    if (!merge || candidate(merge->rank, left) != best) continue;

    Symbol& first = symbols_[left];
    Symbol& second = symbols_[first.next];
    first.token = merge->token;
    first.next = second.next;
    symbols_[second.next].previous = left;
    second.next = kGone;
    if (left > 0) propose(first.previous, find_merge);
    propose(left, find_merge);
  }
  for (std::uint32_t i = 0; i != end; i = symbols_[i].next)
    emit(symbols_[i].token, symbols_[i].begin, symbols_[symbols_[i].next].begin);
}

}  // namespace hearth::runtime
