// Heads of a step's rows normed, turned, rotated and stored, each in the shared memory of a block.
#pragma once

#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/hadamard.cuh"
#include "kernels/gpu/kv_store.cuh"
#include "kernels/gpu/norm.cuh"
#include "kernels/gpu/turn.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kTurnThreads = 128;

struct TurnedHead {
  float values[kMaxHeadDim];
};

// What a thread reads of tables for its first channel and pair: loaded with the head itself, for
// each would be a wait of its own behind a barrier.
struct TurnTables {
  float weight, cosine, sine;
  std::uint32_t position;
};
HEARTH_DEVICE TurnTables load_tables(const TurnTask& task, const HeadGroup& group,
                                     std::uint32_t row) {
  TurnTables tables{};
  const std::uint32_t own = thread_index();
  const std::size_t pair = std::size_t{row} * task.table_stride + own;
  if (group.weight != nullptr && own < group.normed) tables.weight = group.weight[own];
  if (own < group.half) tables.cosine = task.cosine[pair];
  if (own < group.half) tables.sine = task.sine[pair];
  if (group.to.layout.dim > 0) tables.position = *task.position;
  return tables;
}

// The first n channels; `first`: the weight of this thread's first one. Ends with a barrier.
HEARTH_DEVICE void norm_head(std::uint32_t n, const float* weight, float first, float epsilon,
                             float* head) {
  const float factor = norm_factor(sum_of_squares(head, n), n, epsilon);
  sync_threads();
  for (std::uint32_t c = thread_index(); c < n; c += block_threads()) {
    const float scaled = head[c] * factor;
    head[c] = weight == nullptr ? scaled : scaled * (c == thread_index() ? first : weight[c]);
  }
  sync_threads();
}

// Ends with a barrier.
HEARTH_DEVICE void turn_pairs(const TurnTask& task, const HeadGroup& group, std::uint32_t row,
                              const TurnTables& first_pair, float* head) {
  const float* const cosine = task.cosine + std::size_t{row} * task.table_stride;
  const float* const sine = task.sine + std::size_t{row} * task.table_stride;
  for (std::uint32_t i = thread_index(); i < group.half; i += block_threads()) {
    float& first = head[group.first + (group.neighbours ? 2 * i : i)];
    float& second = head[group.first + (group.neighbours ? 2 * i + 1 : i + group.half)];
    const bool loaded = i == thread_index();
    const float a = first, b = second, c = loaded ? first_pair.cosine : cosine[i];
    const float s = loaded ? first_pair.sine : sine[i];
    first = fma(-b, s, a * c);
    second = fma(b, c, a * s);
  }
  sync_threads();
}

HEARTH_DEVICE void turn_head(const TurnTask& task, const HeadGroup& group, std::uint32_t row,
                             std::uint32_t index, float* head) {
  HEARTH_ASSERT(group.dim <= kMaxHeadDim);
  HEARTH_ASSERT(group.to.layout.dim == 0 || group.to.layout.dim == group.dim);
  float* const x = group.x == nullptr
                       ? nullptr
                       : group.x + row * group.stride + std::size_t{index} * group.head_stride;
  const float* const from = group.from == nullptr ? x
                                                  : group.from + row * group.from_stride +
                                                        std::size_t{index} * group.from_head_stride;
  const TurnTables tables = load_tables(task, group, row);
  for (std::uint32_t c = thread_index(); c < group.dim; c += block_threads()) head[c] = from[c];
  sync_threads();
  if (group.normed > 0) norm_head(group.normed, group.weight, tables.weight, task.epsilon, head);
  if (group.half > 0) turn_pairs(task, group, row, tables, head);
  if (group.normed_when_turned) norm_head(group.dim, nullptr, 1, task.epsilon, head);
  if (group.factors != nullptr)
    for (std::uint32_t c = thread_index(); c < group.dim; c += block_threads())
      head[c] = head[c] * group.factors[row];
  rotate_block(group.rotation, group.dim, head);
  if (group.to.layout.dim > 0)
    store_head(group.to, index, tables.position + row, tables.position + task.rows, head);
  if (x == nullptr) return;
  for (std::uint32_t c = thread_index(); c < group.dim; c += block_threads()) x[c] = head[c];
}

// Block (head of a group, row).
HEARTH_KERNEL(kTurnThreads) turn_heads(HEARTH_ARGUMENT(TurnTask) argument) {
  const TurnTask& task = in_place(argument);
  for (const HeadGroup& group : task.groups) prefetch_values(group.weight, group.normed);
  wait_for_previous();
  HEARTH_SHARED(TurnedHead, head);
  std::uint32_t index = block_x();
  for (const HeadGroup& group : task.groups) {
    if (index < group.heads) {
      turn_head(task, group, block_y(), index, head.values);
      return;  // the whole block
    }
    index -= group.heads;
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
