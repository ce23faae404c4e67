// The experts that a plan puts into VRAM before the first step: through RAM, where the store reads
// those that are on disk.
#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"
#include "runtime/experts/expert_store.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/uploader.h"

namespace hearth::runtime {

// Puts distinct absent experts, the most wanted first, as far as their classes have room; the most
// wanted leaves last. Returns how many there are now. In changes of the arena. The store, of which
// nothing is leased, may be smaller than what it passes on. Throws what it throws.
std::uint32_t seed(ExpertArena& arena, ExpertStore& store,
                   std::span<const ExpertId> most_wanted_first, Uploader& uploader);

}  // namespace hearth::runtime
