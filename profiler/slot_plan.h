// How many slots of each size class a byte budget buys.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/units.h"

namespace hearth::profiler {

struct SlotClass {
  Bytes slot;                 // bytes of one slot, > 0
  std::uint32_t experts = 0;  // that fit this class
};

struct SlotPlan {
  // The least budget that works: every class gets `minimum` slots, or one for each of its experts
  // where it has fewer.
  Bytes needed;
  // Per class; empty when the budget is below `needed`.
  std::vector<std::uint32_t> slots;
  Bytes total;  // of these slots, at most the budget
};

// Every class holds the same share of its experts, as nearly as whole slots and the minimum allow:
// the layers of one class are no less routed than those of another. What is left is spent slot by
// slot on the class with the smallest share that still fits, so that the rest is smaller than any
// slot that could be added. A class never gets more slots than it has experts.
SlotPlan plan_slots(std::span<const SlotClass> classes, Bytes budget, std::uint32_t minimum);

}  // namespace hearth::profiler
