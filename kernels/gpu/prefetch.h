// Experts that the next MoE layer will perhaps want, given a slot before its router has chosen.
//
// The routing is a guess: the next layer's router applied to what this layer's router got. Of the
// guessed experts those that are absent and in RAM get a slot, best ranks first, of equal ranks the
// first row's; so many as `limits` says for what this layer fetches itself, since both use one
// link. They take free slots, else the one unused for longest of those that no step has used since
// the one before the last, and never one of the layer they are for, lest a right guess makes room
// for another. A guess that finds no such slot is given up.
//
// Ordering. After the resolve of this layer and before that of the next; no kernel that reads a
// slot in this step has it, since what is taken was not used in it. The gather comes after that of
// this layer's fetches and before that of the next layer's, in one stream, and that is what those
// wait for who compute an expert that was prefetched in this step: resolve puts it among the
// fetched.
#pragma once

#include <cstdint>

#include "kernels/gpu/resolve.h"

namespace hearth::kernels {

struct PrefetchTask {
  ExpertTables tables;
  const std::uint32_t* step = nullptr;  // number of the step, in device memory

  // The layer it is for.
  std::uint32_t layer = 0;         // of the counters
  std::uint32_t first_expert = 0;  // number of its expert 0
  std::uint32_t experts = 0;
  std::uint32_t first_slot = 0;  // of its class
  std::uint32_t slots = 0;       // of its class, at most kMostClassSlots

  // The guess; rows × experts_used is at most kMostResolvedPairs.
  std::uint32_t rows = 0;
  std::uint32_t experts_used = 0;
  const std::uint16_t* ids = nullptr;  // [rows][experts_used], best first

  // How many may be prefetched beside so many fetches; both in device memory.
  const std::uint32_t* limits = nullptr;
  const std::uint32_t* fetch_count = nullptr;  // of this layer: ResolveTask::fetch_count
  std::uint32_t most = 0;                      // room for them, whatever limits says

  // What is written, in device memory, for a gather.
  ExpertFetch* fetches = nullptr;  // [most]
  std::uint32_t* count = nullptr;
};

// The specification, as resolve_scalar().
void prefetch_scalar(const PrefetchTask& task);

}  // namespace hearth::kernels
