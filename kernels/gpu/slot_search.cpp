#include "kernels/gpu/slot_search.h"

#include <tuple>
#include <utility>

namespace hearth::kernels {

bool ScalarSlotSearch::is_protected(std::uint32_t expert) const {
  const std::uint32_t around = expert < protected_first ? all_experts : 0;
  return expert + around - protected_first < protected_count;
}

std::optional<std::uint32_t> ScalarSlotSearch::best() const {
  using Worth = std::tuple<bool, bool, std::uint32_t>;  // free, unprotected, age
  std::optional<std::uint32_t> best;
  Worth most{};
  for (std::uint32_t slot = first_slot; slot < first_slot + slots; ++slot) {
    const ExpertSlot& one = tables.slots[slot];
    const bool free = one.owner == kFreeSlot;
    const std::uint32_t age = free ? 0 : step - one.last_use;
    if (one.owner == kRetiredSlot || (!free && age < least_age)) continue;
    const bool spared = !free && is_protected(one.owner);
    if (spared && !takes_protected) continue;
    const Worth worth{free, !free && !spared, age};
    if (best && worth <= most) continue;
    best = slot;
    most = worth;
  }
  return best;
}

void give_slot(const ExpertTables& tables, std::uint32_t slot, std::uint32_t expert,
               std::uint32_t step, ExpertCounters& counters) {
  ExpertSlot& given = tables.slots[slot];
  if (given.owner != kFreeSlot) {
    ++counters.evictions;
    counters.prefetches_dropped += std::exchange(tables.guessed[given.owner], 0);
    tables.slot_of[given.owner] = kNoSlot;
  }
  given = {.owner = expert, .last_use = step};
  tables.slot_of[expert] = slot;
}

}  // namespace hearth::kernels
