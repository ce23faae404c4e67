// Slots of a class that can be had for others, found by a block of threads.
#pragma once

#include "kernels/gpu/expert_tables.h"
#include "kernels/gpu/port.h"
#include "kernels/gpu/resolve.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kSearchThreads = kMostResolvedPairs;
constexpr unsigned kSearchGroup = 32;
constexpr unsigned kSearchGroups = kSearchThreads / kSearchGroup;

struct SlotSearch {
  const ExpertSlot* slots;  // of the class
  std::uint32_t count;
  std::uint32_t step;
  std::uint32_t least_age;  // of experts that may leave; at least 1, what is older than this step
  // So many experts from this one on, around the end of all: they leave last, or not at all.
  std::uint32_t protected_first, protected_count, all_experts;
  bool takes_protected;
};

// In shared memory. Counts are of slots that were given away, zero at first.
struct FoundSlots {
  std::uint32_t slots[kMostResolvedPairs];  // of the class, the best first
  std::uint64_t best[2][kSearchGroups];
  std::uint32_t evictions, dropped;
};

// How well a slot can be had: 0 not at all, each other number is one slot's alone.
//   63 free   62 not protected   61 … 30 age   29 … 0 lower slots first
HEARTH_DEVICE std::uint64_t worth(const SlotSearch& search, std::uint32_t slot, ExpertSlot one) {
  const std::uint64_t lowest_first = kMostClassSlots - 1 - slot;
  if (one.owner == kFreeSlot) return std::uint64_t{1} << 63 | lowest_first;
  const std::uint32_t age = search.step - one.last_use;
  if (one.owner == kRetiredSlot || age < search.least_age) return 0;
  const std::uint32_t around = one.owner < search.protected_first ? search.all_experts : 0;
  const bool is_protected = one.owner + around - search.protected_first < search.protected_count;
  if (is_protected && !search.takes_protected) return 0;
  return std::uint64_t{is_protected ? 0u : 1u} << 62 | std::uint64_t{age} << 30 | lowest_first;
}

// Of the thread's slots, the best of those worth less than `bound`.
HEARTH_DEVICE std::uint64_t best_slot(const SlotSearch& search, std::uint64_t bound) {
  constexpr unsigned kTogether = 8;  // under way
  std::uint64_t best = 0;
  for (std::uint32_t first = thread_index(); first < search.count;
       first += kTogether * block_threads()) {
    ExpertSlot slots[kTogether];
    const auto slot = [&](unsigned k) {
      const std::uint32_t kth = first + k * block_threads();
      return kth < search.count ? kth : first;
    };
    for (unsigned k = 0; k < kTogether; ++k) slots[k] = search.slots[slot(k)];
    for (unsigned k = 0; k < kTogether; ++k) {
      const std::uint64_t one = worth(search, slot(k), slots[k]);
      if (one < bound && one > best) best = one;
    }
  }
  return best;
}

// One barrier: in the next round the other half is written.
HEARTH_DEVICE std::uint64_t best_of_block(FoundSlots& found, std::uint64_t mine,
                                          std::uint32_t round) {
  std::uint64_t(&best)[kSearchGroups] = found.best[round % 2];
  const std::uint64_t of_group = group_max<kSearchGroup>(mine);
  if (thread_index() % kSearchGroup == 0) best[thread_index() / kSearchGroup] = of_group;
  sync_threads();
  return group_max<kSearchGroups>(best[thread_index() % kSearchGroups]);
}

// By all kSearchThreads: up to `wanted` slots, the best first, and how many there are. Each thread
// brings the best of its own; whose was taken looks for the next.
HEARTH_DEVICE std::uint32_t find_slots(const SlotSearch& search, FoundSlots& found,
                                       std::uint32_t wanted) {
  std::uint64_t mine = wanted > 0 ? best_slot(search, ~std::uint64_t{0}) : 0;
  std::uint32_t count = 0;
  for (; count < wanted; ++count) {
    const std::uint64_t best = best_of_block(found, mine, count);
    if (best == 0) break;
    if (best != mine) continue;
    const auto lowest_first = static_cast<std::uint32_t>(best % kMostClassSlots);
    found.slots[count] = kMostClassSlots - 1 - lowest_first;
    if (count + 1 < wanted) mine = best_slot(search, best);
  }
  sync_threads();
  return count;
}

// `slot` of all.
HEARTH_DEVICE void give_slot(const ExpertTables& tables, std::uint32_t slot, std::uint32_t expert,
                             std::uint32_t step, FoundSlots& found) {
  ExpertSlot& given = tables.slots[slot];
  if (given.owner != kFreeSlot) {
    atomic_add(&found.evictions, 1u);
    atomic_add(&found.dropped, tables.guessed[given.owner]);
    tables.guessed[given.owner] = 0;
    tables.slot_of[given.owner] = kNoSlot;
  }
  given = {expert, step};
  tables.slot_of[expert] = slot;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
