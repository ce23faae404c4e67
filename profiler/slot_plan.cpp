#include "profiler/slot_plan.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "base/check.h"

namespace hearth::profiler {
namespace {

// Shares are fixed-point numbers: kWhole means all experts of a class. 2^32 times a count of
// experts, at most 2^32 - 1, fits 64 bits.
constexpr std::uint64_t kWhole = std::uint64_t{1} << 32;

std::uint32_t slots_for_share(const SlotClass& of, std::uint64_t share, std::uint32_t minimum) {
  const std::uint64_t slots = share * of.experts / kWhole;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(slots, std::min(minimum, of.experts), of.experts));
}

Bytes bytes_for_share(std::span<const SlotClass> classes, std::uint64_t share,
                      std::uint32_t minimum) {
  Bytes total;
  for (const SlotClass& one : classes) total += one.slot * slots_for_share(one, share, minimum);
  return total;
}

// The largest share whose slots fit the budget, which holds at least share 0.
std::uint64_t largest_share(std::span<const SlotClass> classes, Bytes budget,
                            std::uint32_t minimum) {
  std::uint64_t fits = 0;
  std::uint64_t beyond = kWhole + 1;
  while (beyond - fits > 1) {
    const std::uint64_t middle = fits + (beyond - fits) / 2;
    (bytes_for_share(classes, middle, minimum) <= budget ? fits : beyond) = middle;
  }
  return fits;
}

bool takes_one_more(const SlotClass& one, std::uint32_t slots, Bytes rest) {
  return slots < one.experts && one.slot <= rest;
}

using NextClass = std::optional<std::size_t> (*)(std::span<const SlotClass> classes,
                                                 std::span<const std::uint32_t> slots, Bytes rest);

// Of the classes that can take one more slot of at most `rest`, the one with the smallest share.
std::optional<std::size_t> smallest_share(std::span<const SlotClass> classes,
                                          std::span<const std::uint32_t> slots, Bytes rest) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (!takes_one_more(classes[i], slots[i], rest)) continue;
    // slots[i] / experts[i] < slots[best] / experts[best], without rounding.
    if (!best || std::uint64_t{slots[i]} * classes[*best].experts <
                     std::uint64_t{slots[*best]} * classes[i].experts)
      best = i;
  }
  return best;
}

// Likewise, the one whose next expert has the most uses per byte.
std::optional<std::size_t> most_uses(std::span<const SlotClass> classes,
                                     std::span<const std::uint32_t> slots, Bytes rest) {
  std::optional<std::size_t> best;
  double most = -1;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (!takes_one_more(classes[i], slots[i], rest)) continue;
    const double uses =
        static_cast<double>(classes[i].uses[slots[i]]) / static_cast<double>(classes[i].slot.count);
    if (uses <= most) continue;
    most = uses;
    best = i;
  }
  return best;
}

void spend_rest(std::span<const SlotClass> classes, Bytes budget, NextClass next, SlotPlan& plan) {
  while (const auto one = next(classes, plan.slots, budget - plan.total)) {
    ++plan.slots[*one];
    plan.total += classes[*one].slot;
  }
}

bool uses_are_known(std::span<const SlotClass> classes) {
  for (const SlotClass& one : classes)
    if (one.uses.empty() && one.experts > 0) return false;
  return true;
}

}  // namespace

SlotPlan plan_slots(std::span<const SlotClass> classes, Bytes budget, std::uint32_t minimum) {
  for (const SlotClass& one : classes) {
    CHECK_GT(one.slot.count, 0u);
    CHECK(one.uses.empty() || one.uses.size() == one.experts);
  }
  SlotPlan plan;
  plan.needed = bytes_for_share(classes, 0, minimum);
  if (plan.needed > budget) return plan;

  const bool by_use = uses_are_known(classes);
  const std::uint64_t share = by_use ? 0 : largest_share(classes, budget, minimum);
  for (const SlotClass& one : classes) {
    plan.slots.push_back(slots_for_share(one, share, minimum));
    plan.total += one.slot * plan.slots.back();
  }
  spend_rest(classes, budget, by_use ? most_uses : smallest_share, plan);
  return plan;
}

}  // namespace hearth::profiler
