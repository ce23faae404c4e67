#include "profiler/held_slots.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {
namespace {

constexpr std::uint32_t kShares = 32;  // that are tried

std::vector<std::uint32_t> held_of_class(const HeldInput& input, double share) {
  std::vector<std::uint32_t> held;
  for (std::size_t c = 0; c < input.slots.size(); ++c) {
    const auto layers = std::ranges::count(input.needs.class_of_layer, c);
    held.push_back(
        held_slots({.slots = input.slots[c],
                    .experts = input.needs.classes[c].experts,
                    .cycle = static_cast<std::uint32_t>(layers) * input.needs.model.experts_used},
                   share));
  }
  return held;
}

// Slots of both tiers together.
std::vector<std::uint32_t> together(const HeldInput& input, std::span<const std::uint32_t> held,
                                    std::span<const std::uint32_t> ram) {
  std::vector<std::uint32_t> slots;
  for (std::size_t c = 0; c < held.size(); ++c)
    slots.push_back(std::min(held[c] + std::max(input.slots[c] - held[c], ram[c]),
                             input.needs.classes[c].experts));
  return slots;
}

bool hold_all(const ModelNeeds& needs, std::span<const std::uint32_t> slots) {
  for (std::size_t c = 0; c < slots.size(); ++c)
    if (slots[c] < needs.classes[c].experts) return false;
  return true;
}

}  // namespace

std::uint32_t held_slots(const ClassSlots& of, double share) {
  CHECK_LE(of.slots, of.experts);
  const auto held = static_cast<std::uint32_t>(share * of.slots);
  const bool too_few_follow = of.slots - held < of.cycle;
  return of.slots == of.experts || too_few_follow ? of.slots : held;
}

std::vector<std::uint32_t> choose_held(const HeldInput& input) {
  std::vector<std::uint32_t> best = held_of_class(input, 0);
  double least = -1;
  for (std::uint32_t nth = 0; nth <= kShares; ++nth) {
    const std::vector<std::uint32_t> held =
        held_of_class(input, static_cast<double>(nth) / kShares);
    const std::vector<std::uint32_t> ram = input.ram_beside(held);
    if (ram.empty()) continue;
    const std::vector<std::uint32_t> slots = together(input, held, ram);
    if (nth == 0 && hold_all(input.needs, slots)) return held;
    const double in_vram = input.hits.expected(input.slots, held),
                 in_memory = std::max(in_vram, input.hits.expected(slots, held));
    const double cost =
        input.cost({.vram = in_vram, .ram = in_memory - in_vram, .disk = 1 - in_memory});
    if (least >= 0 && cost >= least) continue;
    best = held;
    least = cost;
  }
  return best;
}

double usual_cost(const TierHits& hits) { return 10 * hits.disk + hits.ram; }

}  // namespace hearth::profiler
