#include "kernels/gpu/normalize.h"

#include <algorithm>

#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/norm.cuh"
#include "kernels/gpu/quantize.cuh"
#include "kernels/gpu/route.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kMostNormalizeThreads = 512;

// In each pass over a row a thread has the same columns, so that it may read what it wrote.
static_assert(NormShared::kTile % kMostNormalizeThreads == 0);

// Results, and columns of them, that a thread has under way together: some lie beyond the link.
constexpr unsigned kRanksTogether = 8;
constexpr unsigned kColumnsTogether = 4;

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

// What the experts of the row give in these columns: ranks in their order, whatever finished first.
HEARTH_DEVICE void combine_columns(const ExpertResults& experts, const NormalizeShared& shared,
                                   const RowColumns<kColumnsTogether>& columns,
                                   float (&sums)[kColumnsTogether]) {
  for (std::uint32_t rank = 0; rank < experts.used; rank += kRanksTogether) {
    float values[kRanksTogether][kColumnsTogether];
    for (unsigned k = 0; k < kRanksTogether; ++k)
      for (unsigned c = 0; c < kColumnsTogether; ++c)
        values[k][c] = shared.results[rank + k][columns.at[c]];
    after_loads();
    for (unsigned k = 0; k < kRanksTogether && rank + k < experts.used; ++k)
      for (unsigned c = 0; c < kColumnsTogether; ++c) {
        const float weight = shared.weights[rank + k];
        sums[c] = rank + k == 0 ? values[0][c] * weight : fma(values[k][c], weight, sums[c]);
      }
  }
}

// Where norms of the sums are made, which read them again. A collective of the block.
HEARTH_DEVICE void store_sums(const NormalizeTask& task, std::uint32_t row,
                              const NormalizeShared& shared) {
  float* const to = task.experts.sums + row * task.experts.stride;
  const std::uint32_t step = kColumnsTogether * block_threads();
  for (std::uint32_t begin = 0; begin < task.columns; begin += step) {
    const auto columns = columns_of_thread<kColumnsTogether>(begin, task.columns);
    float sums[kColumnsTogether];
    combine_columns(task.experts, shared, columns, sums);
    for (unsigned c = 0; c < kColumnsTogether; ++c)
      if (columns.present[c]) to[columns.at[c]] = sums[c];
  }
}

// What is added to one row, and the factors of its norms.
struct AddedRow {
  const float* x[kMostBlockOutputs];
  float gate[kMostBlockOutputs];
  float factor[kMostBlockOutputs];
  float sum_factor;
};

HEARTH_DEVICE float gated_part(const NormalizeTask& task, const AddedRow& row, unsigned part,
                               float x) {
  return task.added[part].gate != nullptr ? x * row.gate[part] : x;
}

HEARTH_DEVICE float normed_part(const NormalizeTask& task, const AddedRow& row, unsigned part,
                                float x, std::uint32_t i) {
  const float* const norm = task.added[part].norm;
  const float own = gated_part(task, row, part, x);
  return norm != nullptr ? normed(own, row.factor[part], norm, i) : own;
}

// Of value i of each part.
HEARTH_DEVICE float sum_of_parts(const NormalizeTask& task, const AddedRow& row,
                                 const float (&x)[kMostBlockOutputs], std::uint32_t i) {
  const float first = normed_part(task, row, 0, x[0], i);
  return task.added[1].x != nullptr ? first + normed_part(task, row, 1, x[1], i) : first;
}

HEARTH_DEVICE bool has_norms(const NormalizeTask& task) {
  return task.added[0].norm != nullptr || task.added[1].norm != nullptr ||
         task.added_norm != nullptr;
}

// A part of the row, where there is one. A collective of the block.
template <unsigned part>
HEARTH_DEVICE void find_part(const NormalizeTask& task, std::uint32_t row, NormShared& shared,
                             AddedRow& added) {
  const BlockOutput& output = task.added[part];
  if (output.x == nullptr) return;
  added.x[part] = output.x + row * output.stride;
  if (output.gate != nullptr)
    added.gate[part] =
        divide(1.0f, 1.0f + exponential(output.gate[row * output.gate_stride] * -1.0f));
  if (output.norm == nullptr) return;
  const auto value = [&](const RowColumns<1>& column, float(&x)[1]) {
    x[0] = gated_part(task, added, part, own_value(added.x[part], column, 0));
  };
  added.factor[part] = factor_of_row<1>(task.columns, task.epsilon, shared, value);
}

// A collective of the block.
HEARTH_DEVICE AddedRow added_row(const NormalizeTask& task, std::uint32_t row, NormShared& shared) {
  AddedRow added{};
  find_part<0>(task, row, shared, added);
  find_part<1>(task, row, shared, added);
  static_assert(kMostBlockOutputs == 2);
  if (task.added_norm == nullptr) return added;
  const auto value = [&](const RowColumns<1>& column, float(&x)[1]) {
    float parts[kMostBlockOutputs] = {};
    for (unsigned part = 0; part < kMostBlockOutputs; ++part)
      if (added.x[part] != nullptr) parts[part] = own_value(added.x[part], column, 0);
    x[0] = sum_of_parts(task, added, parts, column.at[0]);
  };
  added.sum_factor = factor_of_row<1>(task.columns, task.epsilon, shared, value);
  return added;
}

// The factor of the row's norm, of what it becomes where something is added. Sums of experts that
// no norm reads before are made where they are added. A collective of the block.
HEARTH_DEVICE float update_row(const NormalizeTask& task, std::uint32_t row,
                               NormalizeShared& shared) {
  constexpr unsigned n = kColumnsTogether;
  const ExpertResults& experts = task.experts;
  const bool has_experts = experts.results != nullptr, combines = has_experts && !has_norms(task);
  HEARTH_ASSERT(!has_experts || task.added[0].x == experts.sums || task.added[1].x == experts.sums);
  if (has_experts) find_results(experts, row, shared);
  if (has_experts && !combines) store_sums(task, row, shared);
  float* const x = task.x + row * task.x_stride;
  const bool changes = task.added[0].x != nullptr || task.factor != nullptr;
  const AddedRow added = added_row(task, row, shared.norm);
  const auto update = [&](const RowColumns<n>& columns, float(&values)[n]) {
    for (unsigned c = 0; c < n; ++c) values[c] = own_value(x, columns, c);
    if (!changes) return;
    float parts[n][kMostBlockOutputs] = {}, sums[n] = {};
    bool is_combined[kMostBlockOutputs];
    for (unsigned part = 0; part < kMostBlockOutputs; ++part) {
      is_combined[part] = combines && task.added[part].x == experts.sums;
      for (unsigned c = 0; c < n; ++c)
        if (added.x[part] != nullptr && !is_combined[part])
          parts[c][part] = own_value(added.x[part], columns, c);
    }
    if (combines)
      combine_columns(experts, shared, columns, sums);
    else
      after_loads();
    for (unsigned c = 0; c < n; ++c) {
      const std::uint32_t i = columns.at[c];
      for (unsigned part = 0; part < kMostBlockOutputs; ++part)
        if (is_combined[part]) parts[c][part] = sums[c];
      if (added.x[0] != nullptr) {
        const float sum = sum_of_parts(task, added, parts[c], i);
        values[c] =
            values[c] +
            (task.added_norm != nullptr ? normed(sum, added.sum_factor, task.added_norm, i) : sum);
      }
      if (task.factor != nullptr) values[c] = values[c] * *task.factor;
      if (columns.present[c]) x[i] = values[c];
    }
  };
  return factor_of_row<n>(task.columns, task.epsilon, shared.norm, update);
}

HEARTH_DEVICE void load_weights(const NormedOutput& output, std::uint32_t columns,
                                float (&weights)[kValuesPerThread], std::uint32_t at) {
  if (output.weight != nullptr) load_four(output.weight, at, columns, weights);
}

// `first`: the weights of this thread's first columns, which were loaded before.
HEARTH_DEVICE void store_normed(const NormedOutput& output, const float* from,
                                std::uint32_t columns, std::uint32_t row, float factor,
                                const float (&first)[kValuesPerThread]) {
  const std::uint32_t end = written_columns(output.to);
  const std::uint32_t step = block_threads() * kValuesPerThread;
  float weights[kValuesPerThread];
  for (unsigned i = 0; i < kValuesPerThread; ++i) weights[i] = first[i];
  for (std::uint32_t begin = 0; begin < end; begin += step) {
    const std::uint32_t at = begin + thread_index() * kValuesPerThread;
    if (begin > 0) load_weights(output, columns, weights, at);
    float x[kValuesPerThread];
    load_four(from, at, columns, x);
    for (unsigned i = 0; i < kValuesPerThread; ++i) {
      const float scaled = x[i] * factor;
      if (at + i < columns) x[i] = output.weight != nullptr ? scaled * weights[i] : scaled;
    }
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
  // Those of the output that is read first, while the row is summed up.
  float weights[kValuesPerThread] = {};
  const std::uint32_t at = thread_index() * kValuesPerThread;
  load_weights(task.outputs[0], task.columns, weights, at);
  const float factor = update_row(task, row, shared);
  const float* const x =
      task.columns <= NormShared::kTile ? shared.norm.tile : task.x + row * task.x_stride;
  store_normed(task.outputs[0], x, task.columns, row, factor, weights);
  for (unsigned i = 1; i < kMostNormedOutputs; ++i) {
    load_weights(task.outputs[i], task.columns, weights, at);
    store_normed(task.outputs[i], x, task.columns, row, factor, weights);
  }
}

// A row has one block: what its threads load one after the other is time. Of 2048 columns a thread
// has four, all under way together.
void launch_normalize(const NormalizeTask& task, NativeStream stream) {
  if (task.rows == 0 || task.columns == 0) return;
  const unsigned wanted = (task.columns / kColumnsTogether + 63) / 64 * 64;
  const unsigned threads = std::clamp(wanted, 64u, kMostNormalizeThreads);
  launch(normalize_rows, {.blocks_x = task.rows + ahead_blocks(task.ahead), .threads = threads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
