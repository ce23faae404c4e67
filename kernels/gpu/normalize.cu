#include "kernels/gpu/normalize.h"

#include "kernels/gpu/norm.cuh"
#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kNormalizeThreads = 256;

// What is added to one row, and the factors of its norms.
struct AddedRow {
  const float* x[kMostBlockOutputs];
  float gate[kMostBlockOutputs];
  float factor[kMostBlockOutputs];
  float sum_factor;
};

HEARTH_DEVICE float part_of(const NormalizeTask& task, const AddedRow& row, unsigned part,
                            std::uint32_t i) {
  const float x = row.x[part][i];
  return task.added[part].gate != nullptr ? x * row.gate[part] : x;
}

HEARTH_DEVICE float normed_part(const NormalizeTask& task, const AddedRow& row, unsigned part,
                                std::uint32_t i) {
  const float x = part_of(task, row, part, i);
  const float* const norm = task.added[part].norm;
  return norm != nullptr ? normed(x, row.factor[part], norm, i) : x;
}

HEARTH_DEVICE float sum_of_parts(const NormalizeTask& task, const AddedRow& row, std::uint32_t i) {
  const float first = normed_part(task, row, 0, i);
  return task.added[1].x != nullptr ? first + normed_part(task, row, 1, i) : first;
}

// A collective of the block.
HEARTH_DEVICE AddedRow added_row(const NormalizeTask& task, std::uint32_t row, NormShared& shared) {
  AddedRow added{};
  for (unsigned part = 0; part < kMostBlockOutputs; ++part) {
    const BlockOutput& output = task.added[part];
    if (output.x == nullptr) continue;
    added.x[part] = output.x + row * output.stride;
    if (output.gate != nullptr)
      added.gate[part] =
          divide(1.0f, 1.0f + exponential(output.gate[row * output.gate_stride] * -1.0f));
    if (output.norm != nullptr)
      added.factor[part] = factor_of_row(task.columns, task.epsilon, shared, [&](std::uint32_t i) {
        return part_of(task, added, part, i);
      });
  }
  if (task.added_norm != nullptr)
    added.sum_factor = factor_of_row(task.columns, task.epsilon, shared,
                                     [&](std::uint32_t i) { return sum_of_parts(task, added, i); });
  return added;
}

// The row of the residual stream that the rest of the model gets; ends with a barrier.
HEARTH_DEVICE void update_row(const NormalizeTask& task, std::uint32_t row, NormShared& shared) {
  float* const x = task.x + row * task.x_stride;
  const AddedRow added = added_row(task, row, shared);
  for (std::uint32_t i = thread_index(); i < task.columns; i += block_threads()) {
    float value = x[i];
    if (added.x[0] != nullptr) {
      const float sum = sum_of_parts(task, added, i);
      value =
          value +
          (task.added_norm != nullptr ? normed(sum, added.sum_factor, task.added_norm, i) : sum);
    }
    x[i] = task.factor != nullptr ? value * *task.factor : value;
  }
  sync_threads();
}

HEARTH_DEVICE void store_normed(const NormalizeTask& task, std::uint32_t row, float factor,
                                const NormedOutput& output) {
  const float* const from = task.x + row * task.x_stride;
  const std::uint32_t end = written_columns(output.to);
  const std::uint32_t step = block_threads() * kValuesPerThread;
  for (std::uint32_t begin = 0; begin < end; begin += step) {
    const std::uint32_t at = begin + thread_index() * kValuesPerThread;
    float x[kValuesPerThread];
    load_four(from, at, task.columns, x);
    for (unsigned i = 0; i < kValuesPerThread; ++i)
      if (at + i < task.columns) x[i] = normed(x[i], factor, output.weight, at + i);
    const QuantizedFour four = quantize_four(x);
    if (at < end) store_four(output.to, row, at, x, four);
  }
}

// Block (row).
HEARTH_KERNEL(kNormalizeThreads) normalize_rows(NormalizeTask task) {
  HEARTH_SHARED(NormShared, shared);
  const std::uint32_t row = block_x();
  if (task.added[0].x != nullptr || task.factor != nullptr) update_row(task, row, shared);
  const float* const x = task.x + row * task.x_stride;
  const float factor =
      factor_of_row(task.columns, task.epsilon, shared, [&](std::uint32_t i) { return x[i]; });
  for (unsigned i = 0; i < kMostNormedOutputs; ++i)
    store_normed(task, row, factor, task.outputs[i]);
}

void launch_normalize(const NormalizeTask& task, NativeStream stream) {
  if (task.rows == 0 || task.columns == 0) return;
  launch(normalize_rows, {.blocks_x = task.rows, .threads = kNormalizeThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
