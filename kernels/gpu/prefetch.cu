#include "kernels/gpu/prefetch.h"

#include "kernels/gpu/port.h"
#include "kernels/gpu/slot_search.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr std::uint32_t kNotWanted = 0xffffffff;

struct PrefetchShared {
  std::uint32_t expert[kMostResolvedPairs];  // by turn: of all experts, or kNotWanted
  std::uint32_t repeated[kMostResolvedPairs];
  FoundSlots found;
};

// The expert whose turn it is: rank by rank, each from the first row on.
HEARTH_DEVICE std::uint32_t expert_of_turn(const PrefetchTask& task, std::uint32_t turn) {
  if (turn >= task.rows * task.experts_used) return kNotWanted;
  const std::uint32_t row = turn % task.rows, rank = turn / task.rows;
  const std::uint32_t id = task.ids[row * task.experts_used + rank];
  if (id >= task.experts) return kNotWanted;
  const std::uint32_t expert = task.first_expert + id;
  if (task.tables.slot_of[expert] != kNoSlot) return kNotWanted;
  return task.tables.sources[expert].parts[0] != nullptr ? expert : kNotWanted;
}

// How many experts are wanted, and how many before this turn.
struct Wanted {
  std::uint32_t count, before;
};

HEARTH_DEVICE Wanted count_wanted(const PrefetchTask& task, PrefetchShared& shared,
                                  std::uint32_t turn) {
  const std::uint32_t expert = shared.expert[turn];
  bool repeated = expert == kNotWanted;
  for (std::uint32_t other = 0; other < turn && !repeated; ++other)
    repeated = shared.expert[other] == expert;
  shared.repeated[turn] = repeated ? 1 : 0;
  sync_threads();
  Wanted wanted = {0, 0};
  for (std::uint32_t other = 0; other < task.rows * task.experts_used; ++other) {
    const std::uint32_t one = 1 - shared.repeated[other];
    wanted.count += one;
    if (other < turn) wanted.before += one;
  }
  return wanted;
}

HEARTH_DEVICE void write_counts(const PrefetchTask& task, const PrefetchShared& shared,
                                std::uint32_t count) {
  *task.count = count;
  ExpertCounters& counters = task.tables.counters[task.layer];
  counters.prefetched += count;
  counters.evictions += shared.found.evictions;
  counters.prefetches_dropped += shared.found.dropped;
}

// One block; a thread has a turn. Where the link has no time the slots are not looked at.
HEARTH_KERNEL(kSearchThreads) prefetch_layer(PrefetchTask task) {
  wait_for_previous();
  HEARTH_SHARED(PrefetchShared, shared);
  HEARTH_ASSERT(task.rows * task.experts_used <= kMostResolvedPairs);
  HEARTH_ASSERT(task.slots <= kMostClassSlots);
  const std::uint32_t turn = thread_index();
  shared.expert[turn] = expert_of_turn(task, turn);
  if (turn == 0) shared.found.evictions = shared.found.dropped = 0;
  sync_threads();
  const Wanted wanted = count_wanted(task, shared, turn);
  std::uint32_t limit = task.limits[*task.fetch_count];
  if (limit > wanted.count) limit = wanted.count;
  if (limit > task.most) limit = task.most;
  const std::uint32_t step = *task.step;
  const SlotSearch search = {.slots = task.tables.slots + task.first_slot,
                             .count = task.slots,
                             .step = step,
                             .least_age = 2,
                             .protected_first = task.first_expert,
                             .protected_count = task.experts,
                             .all_experts = 0,  // the layer goes around no end
                             .takes_protected = false};
  const std::uint32_t count = find_slots(search, shared.found, limit);
  const std::uint32_t nth = wanted.before;
  if (shared.repeated[turn] == 0 && nth < count) {
    const std::uint32_t expert = shared.expert[turn];
    const std::uint32_t slot = task.first_slot + shared.found.slots[nth];
    give_slot(task.tables, slot, expert, step, shared.found);
    task.tables.guessed[expert] = 1;
    task.fetches[nth] = {task.tables.sources[expert], task.tables.addresses[slot]};
  }
  sync_threads();
  if (turn == 0) write_counts(task, shared, count);
}

void launch_prefetch(const PrefetchTask& task, NativeStream stream) {
  launch(prefetch_layer, {.threads = kSearchThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
