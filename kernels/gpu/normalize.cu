#include "kernels/gpu/normalize.h"

#include <algorithm>

#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/norm.cuh"
#include "kernels/gpu/quantize.cuh"
#include "kernels/gpu/route.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kMostNormalizeThreads = 1024;

// In each pass over a row a thread has the same columns, so that it may read what it wrote.
static_assert(NormShared::kTile % kMostNormalizeThreads == 0);

// Results, and columns of them, that a thread has under way together: some lie beyond the link.
constexpr unsigned kRanksTogether = 8;
constexpr unsigned kColumnsTogether = 2;

struct NormalizeShared {
  NormShared norm;
  // Of the row's experts; then the last one again, up to a multiple of kRanksTogether.
  const float* results[kMostExpertsUsed];
  float weights[kMostExpertsUsed];
};
static_assert(kMostExpertsUsed % kRanksTogether == 0);

// A collective of the block.
HEARTH_DEVICE void find_results(const ExpertResults& experts, std::uint32_t row,
                                NormalizeShared& shared) {
  HEARTH_ASSERT(experts.used > 0 && experts.used <= kMostExpertsUsed);
  // The wait before this launch orders it behind what the CPU wrote; only this shows it to it.
  if (experts.done != nullptr && thread_index() == 0) load_acquire_system(experts.done);
  const std::uint64_t first = std::uint64_t{row} * experts.used;
  const std::uint32_t end = (experts.used + kRanksTogether - 1) / kRanksTogether * kRanksTogether;
  for (std::uint32_t k = thread_index(); k < end; k += block_threads()) {
    const std::uint64_t pair = first + (k < experts.used ? k : experts.used - 1);
    shared.results[k] = experts.results[pair];
    shared.weights[k] = experts.weights != nullptr ? experts.weights[pair] : 1.0f;
  }
  sync_threads();
}

// Ranks in their order, whatever finished first. A collective of the block.
HEARTH_DEVICE void combine_experts(const NormalizeTask& task, std::uint32_t row,
                                   NormalizeShared& shared) {
  const ExpertResults& experts = task.experts;
  find_results(experts, row, shared);
  float* const to = experts.sums + row * experts.stride;
  const std::uint32_t step = kColumnsTogether * block_threads();
  for (std::uint32_t begin = 0; begin < task.columns; begin += step) {
    std::uint32_t columns[kColumnsTogether];
    for (unsigned c = 0; c < kColumnsTogether; ++c)
      columns[c] = begin + c * block_threads() + thread_index();
    float sums[kColumnsTogether] = {};
    for (std::uint32_t rank = 0; rank < experts.used; rank += kRanksTogether) {
      float values[kRanksTogether][kColumnsTogether];
      for (unsigned k = 0; k < kRanksTogether; ++k)
        for (unsigned c = 0; c < kColumnsTogether; ++c)
          values[k][c] = shared.results[rank + k][columns[c] < task.columns ? columns[c] : 0];
      after_loads();
      for (unsigned k = 0; k < kRanksTogether && rank + k < experts.used; ++k)
        for (unsigned c = 0; c < kColumnsTogether; ++c) {
          const float weight = shared.weights[rank + k];
          sums[c] = rank + k == 0 ? values[0][c] * weight : fma(values[k][c], weight, sums[c]);
        }
    }
    for (unsigned c = 0; c < kColumnsTogether; ++c)
      if (columns[c] < task.columns) to[columns[c]] = sums[c];
  }
}

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

// What is read last, when a wait for it cannot be hidden any more.
HEARTH_DEVICE void prefetch_weights(const NormalizeTask& task) {
  for (unsigned i = 0; i < kMostBlockOutputs; ++i)
    prefetch_values(task.added[i].norm, task.columns);
  prefetch_values(task.added_norm, task.columns);
  for (unsigned i = 0; i < kMostNormedOutputs; ++i)
    prefetch_values(task.outputs[i].weight, task.columns);
}

// Block (row); then those that ask ahead.
HEARTH_KERNEL(kMostNormalizeThreads, 1) normalize_rows(NormalizeTask task) {
  const bool has_row = block_x() < task.rows;
  if (has_row)
    prefetch_weights(task);
  else
    ask_ahead(task.ahead, block_x() - task.rows);
  wait_for_previous();
  if (!has_row) return;
  HEARTH_SHARED(NormalizeShared, shared);
  const std::uint32_t row = block_x();
  if (task.experts.results != nullptr) combine_experts(task, row, shared);
  const float factor = update_row(task, row, shared.norm);
  const float* const x =
      task.columns <= NormShared::kTile ? shared.norm.tile : task.x + row * task.x_stride;
  for (unsigned i = 0; i < kMostNormedOutputs; ++i)
    store_normed(task.outputs[i], x, task.columns, row, factor);
}

// A row has one block: what its threads load one after the other is time. Of 2048 columns a thread
// has two.
void launch_normalize(const NormalizeTask& task, NativeStream stream) {
  if (task.rows == 0 || task.columns == 0) return;
  const unsigned wanted = (task.columns / 2 + 63) / 64 * 64;
  const unsigned threads = std::clamp(wanted, 64u, kMostNormalizeThreads);
  launch(normalize_rows, {.blocks_x = task.rows + ahead_blocks(task.ahead), .threads = threads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
