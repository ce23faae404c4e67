// How many slots of a GPU hold their experts for good.
//
// An expert in a slot that follows traffic came from RAM and is still there. One that is held needs
// no RAM, so that another is there which would be read from disk. But what is held is not what was
// used lately: the more slots are held, the more of the rest is missed in VRAM and served from RAM.
// So the number is the one with which a token costs least: what is missed in both tiers comes from
// disk, what is missed in VRAM alone over the link or through the CPU, which is cheaper.
// Where RAM has room for all that VRAM does not hold anyway, only that is held which costs nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "profiler/cost_model.h"
#include "profiler/hit_estimate.h"
#include "profiler/model_needs.h"

namespace hearth::profiler {

// The slots of a class, and what a token uses of it.
struct ClassSlots {
  std::uint32_t slots = 0;
  std::uint32_t experts = 0;
  std::uint32_t cycle = 0;  // experts that a token uses, at most
};

// All but a share of `slots` follow traffic. Fewer than a cycle of them would lose each expert
// before it recurs, and where every expert has a slot none is lost: then all are held.
std::uint32_t held_slots(const ClassSlots& of, double share);

struct HeldInput {
  const ModelNeeds& needs;
  const HitModel& hits;
  std::span<const std::uint32_t> slots;       // of VRAM, of each class
  FunctionRef<double(const TierHits&)> cost;  // of a token, in whatever unit
  // Slots of RAM where so many of each class are held; empty: too little RAM.
  FunctionRef<std::vector<std::uint32_t>(std::span<const std::uint32_t> held)> ram_beside;
};
// Of each class.
std::vector<std::uint32_t> choose_held(const HeldInput& input);

// Without a machine's rates: link and CPU together serve 30 to 60 GB/s of a desktop's RAM, its NVMe
// reads 3 to 7 GB/s.
double usual_cost(const TierHits& hits);

}  // namespace hearth::profiler
