// From what a router chose to who computes it: one MoE layer of a step of 1 to 8 rows.
//
// The experts of all rows, each once, in the order of their first appearance, are
//   hits      in a slot: computed by the device at once
//   arriving  prefetched in this step (prefetch.h): hits that are computed with the fetched, whose
//             gather comes after theirs
//   fetched   given a slot now, gathered from RAM (gather.h), then computed by the device
//   on host   all others: computed by the CPU, from RAM or from disk
//
// Of the misses that are in RAM, fetch_limits says how many are fetched: those chosen most recently
// in an earlier step first, for they will recur, of equals the first. Each takes, of the slots of
// its class, a free one, else the one unused for longest, those of the protected experts last; of
// equals the lowest. A slot used or given away in this step is never taken: where there is no
// other, the rest is left to the host.
//
// Pairs (row, rank) get a place: experts that hit, the arriving, the fetched, then the host's, the
// pairs of an expert together in the order of rows. An id that is out of range has no place and
// counts as a fault; its result is `nothing`. So does an id that its row has already, whose result
// and place are those of the first.
#pragma once

#include <cstdint>

#include "kernels/gpu/ahead.h"
#include "kernels/gpu/expert_tables.h"
#include "kernels/gpu/lane_block.h"
#include "kernels/gpu/product.h"
#include "kernels/gpu/route.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kMostResolvedPairs = 512;

// An expert to be gathered into its slot.
struct ExpertFetch {
  ExpertSource from;
  std::byte* to = nullptr;
};

// Results by place: row p at rows + p × stride.
struct ResultRows {
  const float* rows = nullptr;
  std::uint64_t stride = 0;
};

struct ResolveTask {
  ExpertTables tables;
  const std::uint32_t* step = nullptr;  // number of the step, in device memory

  // The layer.
  std::uint32_t layer = 0;         // of the counters
  std::uint32_t first_expert = 0;  // number of its expert 0
  std::uint32_t experts = 0;
  // Slots of its class that may be given away, at most kMostClassSlots; those before them are held.
  std::uint32_t first_slot = 0;
  std::uint32_t slots = 0;
  SlotLayout layout;
  // Experts of the layers about to run: so many numbers from this one on, below `all_experts`, at
  // whose end they go on with 0.
  std::uint32_t protected_first = 0;
  std::uint32_t protected_count = 0;
  std::uint32_t all_experts = 0;

  // The routing; rows × experts_used is at most kMostResolvedPairs, rows at most kMostProductRows.
  std::uint32_t rows = 0;
  std::uint32_t experts_used = 0;
  const std::uint16_t* ids = nullptr;  // [rows][experts_used]
  const float* weights = nullptr;      // likewise
  // [rows × experts_used + 1]: how many of so many misses that are in RAM are fetched. In device
  // memory; the host changes it between steps.
  const std::uint32_t* fetch_limits = nullptr;
  std::uint32_t most_fetches = 0;  // room for them, whatever fetch_limits says

  // What is written, in device memory; of jobs those that are left over get no rows.
  ExpertJob* hits = nullptr;       // [rows × experts_used]
  ExpertJob* fetched = nullptr;    // [rows × experts_used]: the arriving, then the fetched
  ExpertFetch* fetches = nullptr;  // [most_fetches]
  std::uint32_t* fetch_count = nullptr;
  LaneJob* host_jobs = nullptr;  // [rows × experts_used]
  std::uint32_t* host_count = nullptr;
  std::uint32_t* x_rows = nullptr;  // [rows × experts_used], by place: ProductTask::x_rows
  float* x_weights = nullptr;       // likewise: ProductTask::x_weights
  const float** results = nullptr;  // [rows × experts_used], by pair: ExpertResults::results
  std::uint32_t* faults = nullptr;  // pairs that no router may choose are added; or null

  ResultRows on_device, on_host;  // where the results of hits and fetched, and of the host, will be
  const float* nothing = nullptr;  // a row of zeros
};

// Both for a step of one row, in one launch: what is resolved is the routing that `route` writes.
struct RouteAndResolveTask {
  RouteTask route;
  ResolveTask resolve;  // of the same row; its ids and weights are not read
  Ahead ahead;
};

// The specification, in plain C++, for tables and lists that the host can read and write: what the
// kernel leaves is equal to what this leaves.
void resolve_scalar(const ResolveTask& task);

}  // namespace hearth::kernels
