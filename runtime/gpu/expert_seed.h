// The experts that a plan puts into VRAM before the first step, and when there are more slots
// later: from RAM those that are there, all others from disk past the slots in RAM, which keep what
// is in them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "runtime/experts/expert_store.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/uploader.h"

namespace hearth::runtime {

// All experts, each once: those of `seed`, then by layers.
std::vector<ExpertId> most_wanted_first(const ExpertCatalog& catalog,
                                        std::span<const ExpertId> seed);

// Puts distinct absent experts, the most wanted first, as far as their classes have room; the most
// wanted leaves last. Returns how many there are now. In changes of the arena, with nothing being
// read for the store. Throws what reading throws, and then none of them is there.
std::uint32_t seed(ExpertArena& arena, ExpertStore& store,
                   std::span<const ExpertId> most_wanted_first, Uploader& uploader);

}  // namespace hearth::runtime
