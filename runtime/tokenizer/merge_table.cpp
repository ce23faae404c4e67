#include "runtime/tokenizer/merge_table.h"

#include <bit>

#include "base/check.h"

namespace hearth::runtime {
namespace {

constexpr std::uint32_t kFree = 0xffffffff;

// The finalizer of splitmix64: every bit of the pair reaches the low bits.
std::uint64_t hash(TokenId left, TokenId right) {
  std::uint64_t z = static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
                    static_cast<std::uint32_t>(right);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

MergeTable::MergeTable(std::size_t capacity) : slots_(std::bit_ceil(2 * capacity + 2), kFree) {
  entries_.reserve(capacity);
}

std::size_t MergeTable::slot_of(TokenId left, TokenId right) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash(left, right) & mask;
  while (slots_[slot] != kFree &&
         (entries_[slots_[slot]].left != left || entries_[slots_[slot]].right != right))
    slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::add(TokenId left, TokenId right, TokenId merged) {
  CHECK_LT(2 * entries_.size(), slots_.size() - 1);
  std::uint32_t& slot = slots_[slot_of(left, right)];
  if (slot == kFree) slot = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({left, right, merged});
}

std::optional<Merge> MergeTable::find(TokenId left, TokenId right) const {
  const std::uint32_t rank = slots_[slot_of(left, right)];
  if (rank == kFree) return std::nullopt;
  return Merge{rank, entries_[rank].merged};
}

}  // namespace hearth::runtime
