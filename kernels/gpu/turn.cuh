// Heads of a step's rows turned and rotated, each in the shared memory of a block.
#pragma once

#include "kernels/gpu/hadamard.cuh"
#include "kernels/gpu/turn.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kTurnThreads = 128;

struct TurnedHead {
  float values[kMaxHeadDim];
};

HEARTH_DEVICE void turn_pairs(const TurnTask& task, std::uint32_t row, float* head) {
  const float* const cosine = task.cosine + std::size_t{row} * task.table_stride;
  const float* const sine = task.sine + std::size_t{row} * task.table_stride;
  for (std::uint32_t i = thread_index(); i < task.half; i += block_threads()) {
    float& first = head[task.first + (task.neighbours ? 2 * i : i)];
    float& second = head[task.first + (task.neighbours ? 2 * i + 1 : i + task.half)];
    const float a = first, b = second, c = cosine[i], s = sine[i];
    first = fma(-b, s, a * c);
    second = fma(b, c, a * s);
  }
}

// Block (head, row).
HEARTH_KERNEL(kTurnThreads) turn_heads(TurnTask task) {
  HEARTH_SHARED(TurnedHead, head);
  const std::uint32_t row = block_y();
  float* const x = task.x + row * task.stride + std::size_t{block_x()} * task.head_stride;
  for (std::uint32_t c = thread_index(); c < task.dim; c += block_threads()) head.values[c] = x[c];
  sync_threads();
  turn_pairs(task, row, head.values);
  sync_threads();
  if (task.factors != nullptr)
    for (std::uint32_t c = thread_index(); c < task.dim; c += block_threads())
      head.values[c] = head.values[c] * task.factors[row];
  rotate_block(task.rotation, task.dim, head.values);
  for (std::uint32_t c = thread_index(); c < task.dim; c += block_threads()) x[c] = head.values[c];
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
