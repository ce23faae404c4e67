#include "kernels/gpu/group.h"

#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {
namespace {

constexpr unsigned kGroupThreads = 256;

struct GroupShared {
  std::uint32_t before;                 // pairs of experts with smaller numbers
  std::uint32_t counts[kGroupThreads];  // pairs of this expert that each thread has seen
};

// The pairs of a thread: neighbours, so that threads in order have pairs in order.
struct PairRange {
  std::uint32_t begin, end;
};
HEARTH_DEVICE PairRange pairs_of_thread(const GroupTask& task) {
  const std::uint32_t all = task.rows * task.experts_used;
  const std::uint32_t each = (all + block_threads() - 1) / block_threads();
  const std::uint32_t begin = thread_index() * each;
  return {begin < all ? begin : all, begin + each < all ? begin + each : all};
}

HEARTH_DEVICE void refuse_unknown(const GroupTask& task, const PairRange& own) {
  for (std::uint32_t pair = own.begin; pair < own.end; ++pair) {
    if (task.ids[pair] < task.expert_count) continue;
    task.results[pair] = task.nothing;
    if (task.faults != nullptr) atomic_add(task.faults, 1u);
  }
}

// Block (expert): each finds its own pairs and how many come before them, so that no block waits
// for another. The ids of a chunk are few enough to stay in the cache.
HEARTH_KERNEL(kGroupThreads) group_pairs(GroupTask task) {
  wait_for_previous();
  HEARTH_SHARED(GroupShared, shared);
  const GroupedExpert expert = task.experts[block_x()];
  const PairRange own = pairs_of_thread(task);
  if (thread_index() == 0) shared.before = 0;
  sync_threads();
  std::uint32_t before = 0, count = 0;
  for (std::uint32_t pair = own.begin; pair < own.end; ++pair) {
    before += task.ids[pair] < expert.expert ? 1 : 0;
    count += task.ids[pair] == expert.expert ? 1 : 0;
  }
  shared.counts[thread_index()] = count;
  if (before > 0) atomic_add(&shared.before, before);
  if (block_x() == 0) refuse_unknown(task, own);
  sync_threads();

  std::uint32_t place = shared.before, rows = 0;
  for (unsigned t = 0; t < block_threads(); ++t) {
    place += t < thread_index() ? shared.counts[t] : 0;
    rows += shared.counts[t];
  }
  if (thread_index() == 0)
    task.jobs[block_x()] = {
        .matrices = {expert.at + task.layout.offsets[0], expert.at + task.layout.offsets[1],
                     expert.at + task.layout.offsets[2]},
        .expert = expert.expert,
        .begin = place,
        .rows = rows};
  if (count == 0) return;
  for (std::uint32_t pair = own.begin; pair < own.end; ++pair) {
    if (task.ids[pair] != expert.expert) continue;
    task.x_rows[place] = pair / task.experts_used;
    task.x_weights[place] = task.weights[pair];
    task.results[pair] = task.outputs.rows + place * task.outputs.stride;
    ++place;
  }
}

}  // namespace

void launch_group(const GroupTask& task, NativeStream stream) {
  const unsigned pairs = task.rows * task.experts_used;
  if (pairs == 0 || task.expert_count == 0) return;
  const unsigned wanted = (pairs + 63) / 64 * 64;
  launch(
      group_pairs,
      {.blocks_x = task.expert_count, .threads = wanted < kGroupThreads ? wanted : kGroupThreads},
      stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
