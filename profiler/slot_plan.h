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
  // Expected uses per token of each of these, descending; empty in all classes: nothing is known.
  std::span<const float> uses = {};
};

struct SlotPlan {
  // The least budget that works: every class gets `minimum` slots, or one for each of its experts
  // where it has fewer.
  Bytes needed;
  // Per class; empty when the budget is below `needed`.
  std::vector<std::uint32_t> slots;
  Bytes total;  // of these slots, at most the budget
};

// Where uses are known, each further slot goes to the class whose next expert has most uses per
// byte, while one fits: no other division of the same bytes has more of the uses, up to one slot.
// A larger budget never gets less of them.
// Else every class holds the same share of its experts, as nearly as whole slots and the minimum
// allow: the layers of one class are no less routed than those of another. What is left is spent
// slot by slot on the class with the smallest share that still fits.
// Either way the rest is smaller than any slot that could be added, and a class never gets more
// slots than it has experts.
SlotPlan plan_slots(std::span<const SlotClass> classes, Bytes budget, std::uint32_t minimum);

}  // namespace hearth::profiler
