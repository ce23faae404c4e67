// The specification of slot_search.cuh: which slot of a class can be had for another expert.
#pragma once

#include <cstdint>
#include <optional>

#include "kernels/gpu/expert_tables.h"

namespace hearth::kernels {

// Fields as in SlotSearch, for tables that the host can read.
struct ScalarSlotSearch {
  const ExpertTables& tables;
  std::uint32_t first_slot = 0, slots = 0;  // of the class
  std::uint32_t step = 0;
  std::uint32_t least_age = 1;
  std::uint32_t protected_first = 0, protected_count = 0, all_experts = 0;
  bool takes_protected = true;

  // The slot, of all, that is best had.
  std::optional<std::uint32_t> best() const;

 private:
  bool is_protected(std::uint32_t expert) const;
};

void give_slot(const ExpertTables& tables, std::uint32_t slot, std::uint32_t expert,
               std::uint32_t step, ExpertCounters& counters);

}  // namespace hearth::kernels
