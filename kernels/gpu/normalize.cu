#include "kernels/gpu/normalize.h"

#include <algorithm>

#include "kernels/gpu/norm.cuh"
#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kMostNormalizeThreads = 1024;

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

// The factor of the row's norm, of what it becomes where something is added. A collective of the
// block.
HEARTH_DEVICE float update_row(const NormalizeTask& task, std::uint32_t row, NormShared& shared) {
  float* const x = task.x + row * task.x_stride;
  const bool changes = task.added[0].x != nullptr || task.factor != nullptr;
  const AddedRow added = added_row(task, row, shared);
  return factor_of_row(task.columns, task.epsilon, shared, [&](std::uint32_t i) {
    if (!changes) return x[i];
    float value = x[i];
    if (added.x[0] != nullptr) {
      const float sum = sum_of_parts(task, added, i);
      value =
          value +
          (task.added_norm != nullptr ? normed(sum, added.sum_factor, task.added_norm, i) : sum);
    }
    x[i] = task.factor != nullptr ? value * *task.factor : value;
    return x[i];
  });
}

HEARTH_DEVICE void store_normed(const NormedOutput& output, const float* from,
                                std::uint32_t columns, std::uint32_t row, float factor) {
  const std::uint32_t end = written_columns(output.to);
  const std::uint32_t step = block_threads() * kValuesPerThread;
  for (std::uint32_t begin = 0; begin < end; begin += step) {
    const std::uint32_t at = begin + thread_index() * kValuesPerThread;
    float x[kValuesPerThread];
    load_four(from, at, columns, x);
    for (unsigned i = 0; i < kValuesPerThread; ++i)
      if (at + i < columns) x[i] = normed(x[i], factor, output.weight, at + i);
    const QuantizedFour four = quantize_four(x);
    if (at < end) store_four(output.to, row, at, x, four);
  }
}

// Block (row).
HEARTH_KERNEL(kMostNormalizeThreads) normalize_rows(NormalizeTask task) {
  HEARTH_SHARED(NormShared, shared);
  const std::uint32_t row = block_x();
  const float factor = update_row(task, row, shared);
  const float* const x =
      task.columns <= NormShared::kTile ? shared.tile : task.x + row * task.x_stride;
  for (unsigned i = 0; i < kMostNormedOutputs; ++i)
    store_normed(task.outputs[i], x, task.columns, row, factor);
}

// A row has one block: what its threads load one after the other is time. Of 2048 columns a thread
// has two.
void launch_normalize(const NormalizeTask& task, NativeStream stream) {
  if (task.rows == 0 || task.columns == 0) return;
  const unsigned wanted = (task.columns / 2 + 63) / 64 * 64;
  const unsigned threads = std::clamp(wanted, 64u, kMostNormalizeThreads);
  launch(normalize_rows, {.blocks_x = task.rows, .threads = threads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
