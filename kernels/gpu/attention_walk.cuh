// Attention of many rows: each block walks the whole context of its queries, chunk after chunk, and
// merges what a chunk leaves into what it has. So the states need room for two chunks alone.
#pragma once

#include "kernels/gpu/attention_merge.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kWalkQueries = 8;

// Adds the state of a chunk that is not the first, whose maxima and sums are still in shared
// memory.
template <unsigned n>
HEARTH_DEVICE void merge_chunk(const AttendTask& task, const QueryRange& range,
                               const ChunkState& merged, const ChunkState& chunk,
                               const SharedQueries<n>& queries) {
  const auto query_of = [&](unsigned q) {
    return std::size_t{row_of(range, q)} * task.heads + head_of(range, q);
  };
  const auto adds = [&](unsigned q) { return queries.end[q] != 0 && queries.sums[q] != 0; };
  sync_threads();
  for (unsigned q = 0; q < n; ++q) {
    if (!adds(q)) continue;
    const std::size_t query = query_of(q);
    const Merge merge = merge_of(merged.maxima[query], queries.maxima[q]);
    const bool any = merged.sums[query] != 0;  // else nothing was left there
    for (std::uint32_t c = thread_index(); c < task.value_dim; c += block_threads()) {
      float& output = merged.outputs[query * task.value_dim + c];
      const float found = chunk.outputs[query * task.value_dim + c];
      output = fma(found, merge.taken, (any ? output : 0.0f) * merge.kept);
    }
  }
  sync_threads();
  for (unsigned q = thread_index(); q < n; q += block_threads()) {
    if (!adds(q)) continue;
    const std::size_t query = query_of(q);
    const Merge merge = merge_of(merged.maxima[query], queries.maxima[q]);
    merged.maxima[query] = merge.maximum;
    merged.sums[query] = fma(queries.sums[q], merge.taken, merged.sums[query] * merge.kept);
  }
}

// Block (KV head × piece of its queries).
HEARTH_KERNEL(kAttendThreads) walk_chunks(AttendTask task) {
  wait_for_previous();
  constexpr unsigned n = kWalkQueries;
  HEARTH_SHARED(SharedQueries<n>, queries);
  HEARTH_DYNAMIC_SHARED(float, memory);
  const QueryForms forms = query_forms(memory, n, task.keys.layout.dim);
  const QueryRange range = query_range<n>(task, block_x());
  const std::uint32_t position = *task.position + row_of(range, 0);
  const std::uint32_t end = *task.position + row_of(range, range.count - 1) + 1;
  const ChunkState merged = chunk_state(task, 0), chunk = chunk_state(task, 1);
  load_queries<n>(task, range, forms);
  // Rows on both sides of a power of two of positions have chunks of two sizes.
  for (std::uint32_t size = attention_chunk(position + 1); size <= attention_chunk(end);
       size *= 2) {
    sync_threads();
    load_positions(task, range, size, queries);
    sync_threads();
    attend_chunk(task, range, 0, size, merged, queries, forms);
    for (std::uint32_t index = 1; index * size < end; ++index) {
      attend_chunk(task, range, index, size, chunk, queries, forms);
      merge_chunk(task, range, merged, chunk, queries);
    }
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
