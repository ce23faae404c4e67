// Decode attention on a device: a block has up to 8 queries that share a KV head, and chunks of the
// context, of which 128 positions at a time get their scores, weights and values.
#pragma once

#include "kernels/gpu/attention_scores.cuh"
#include "kernels/gpu/attention_values.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

HEARTH_DEVICE std::uint32_t first_position(const AttendTask& task, std::uint32_t position) {
  if (task.window == 0) return 0;
  if (task.window_is_piece) return position / task.window * task.window;
  return position + 1 > task.window ? position + 1 - task.window : 0;
}

// The queries of a block: `count` from number `begin` on of those of a KV head, which are counted
// by rows, then by heads.
struct QueryRange {
  std::uint32_t kv_head = 0;
  std::uint32_t begin = 0;
  std::uint32_t count = 0;
  std::uint32_t group = 1;
};
HEARTH_DEVICE std::uint32_t row_of(const QueryRange& range, std::uint32_t q) {
  return (range.begin + q) / range.group;
}
HEARTH_DEVICE std::uint32_t head_of(const QueryRange& range, std::uint32_t q) {
  return range.kv_head * range.group + (range.begin + q) % range.group;
}

// Number `index` of the KV heads × pieces of their queries.
template <unsigned n>
HEARTH_DEVICE QueryRange query_range(const AttendTask& task, std::uint32_t index) {
  QueryRange range;
  range.group = task.heads / task.kv_heads;
  const std::uint32_t queries = task.rows * range.group, pieces = (queries + n - 1) / n;
  range.kv_head = index / pieces;
  range.begin = index % pieces * n;
  range.count = queries - range.begin < n ? queries - range.begin : n;
  return range;
}

// Queries beyond the last are zeros.
template <unsigned n>
HEARTH_DEVICE void load_queries(const AttendTask& task, const QueryRange& range,
                                const QueryForms& forms) {
  const KvLayout& keys = task.keys.layout;
  for (std::uint32_t i = thread_index(); i < n * keys.dim; i += block_threads()) {
    const std::uint32_t q = i / keys.dim, c = i % keys.dim;
    forms.values[i] =
        q < range.count
            ? task.queries[row_of(range, q) * task.query_stride + head_of(range, q) * keys.dim + c]
            : 0.0f;
  }
  sync_threads();
  if (keys.family != KvFamily::kFloat && keys.family != KvFamily::kKvarn)
    quantize_queries<n>(keys.dim, forms);
}

// What each query attends to where its chunks have this size, else nothing.
template <unsigned n>
HEARTH_DEVICE void load_positions(const AttendTask& task, const QueryRange& range,
                                  std::uint32_t chunk, SharedQueries<n>& queries) {
  for (unsigned q = thread_index(); q < n; q += block_threads()) {
    const std::uint32_t position = *task.position + row_of(range, q);
    const bool present = q < range.count && attention_chunk(position + 1) == chunk;
    queries.first[q] = present ? first_position(task, position) : ~0u;
    queries.end[q] = present ? position + 1 : 0;
    queries.encoded_keys[q] = encoded_before(task.keys.layout, task.tail, position);
    queries.encoded_values[q] = encoded_before(task.values.layout, task.tail, position);
  }
}

// The scores of a span and the largest of each tile.
template <unsigned n>
HEARTH_DEVICE void score_span(const AttendTask& task, const QueryRange& range, std::uint32_t span,
                              SharedQueries<n>& queries, const QueryForms& forms) {
  const std::uint32_t tile = thread_index() / kKvTile;
  float scores[n];
  score_position(task, range.kv_head, span + thread_index(), queries, forms, scores);
  for (unsigned q = 0; q < n; ++q) {
    const float largest = group_max<32>(scores[q]);
    queries.weights[q][thread_index()] = scores[q];
    if (thread_index() % kKvTile == 0) queries.tile_maxima[q][tile] = largest;
  }
}

template <unsigned n>
HEARTH_DEVICE bool attends(const SharedQueries<n>& queries, unsigned q, std::uint32_t position) {
  return queries.first[q] < position + kKvTile && position < queries.end[q];
}

// Makes the scores weights. A tile that a query does not attend to leaves its maximum as it is.
template <unsigned n>
HEARTH_DEVICE void weigh_span(const AttendTask& task, std::uint32_t span,
                              SharedQueries<n>& queries) {
  const unsigned lane = thread_index() % kKvTile, tile = thread_index() / kKvTile;
  const KvLayout& layout = task.values.layout;
  std::uint32_t meet_codes = 0;
  if (values_coded(layout))
    meet_codes =
        readers_of(queries, layout, queries.encoded_values, span + tile * kKvTile).in_format;
  for (unsigned q = 0; q < n; ++q) {
    float before = queries.maxima[q], maximum = before;
    for (unsigned i = 0; i <= tile; ++i) {
      before = maximum;
      if (!attends(queries, q, span + i * kKvTile)) continue;
      const float largest = queries.tile_maxima[q][i];
      maximum = maximum > largest ? maximum : largest;
    }
    const float largest = queries.tile_maxima[q][tile], least = float_of(0xff7fffffu);  // finite
    const float of_codes = least > largest ? least : largest;
    const float base = (meet_codes >> q & 1) != 0 ? of_codes : maximum;
    const float weight = exponential(queries.weights[q][thread_index()] - base);
    const float sum = group_sum<32>(weight);
    queries.weights[q][thread_index()] = weight;
    if (lane != 0) continue;
    queries.factors[q][tile] = exponential(before - maximum);
    queries.gains[q][tile] = (meet_codes >> q & 1) != 0 ? exponential(base - maximum) : 1.0f;
    queries.tile_sums[q][tile] = sum;
  }
}

// Maxima and sums of the queries after the span.
template <unsigned n>
HEARTH_DEVICE void advance_sums(std::uint32_t span, SharedQueries<n>& queries) {
  for (unsigned q = thread_index(); q < n; q += block_threads())
    for (unsigned i = 0; i < kSpanTiles; ++i) {
      if (!attends(queries, q, span + i * kKvTile)) continue;
      const float largest = queries.tile_maxima[q][i];
      queries.maxima[q] = queries.maxima[q] > largest ? queries.maxima[q] : largest;
      const float kept = queries.sums[q] * queries.factors[q][i];
      queries.sums[q] = fma(queries.tile_sums[q][i], queries.gains[q][i], kept);
    }
}

// Where a chunk leaves the state of all queries of the step.
struct ChunkState {
  float* maxima;
  float* sums;
  float* outputs;
};
HEARTH_DEVICE ChunkState chunk_state(const AttendTask& task, std::uint32_t chunk) {
  const std::size_t queries = std::size_t{task.rows} * task.heads;
  float* const floats = task.states + chunk * queries * (2 + task.value_dim);
  return {floats, floats + queries, floats + 2 * queries};
}

// The outputs of a piece of channels are with their threads for a span, and in the state between
// spans: before the first one they are zero.
template <unsigned n>
HEARTH_DEVICE void add_values(const AttendTask& task, const QueryRange& range, std::uint32_t span,
                              bool first_span, const ChunkState& state, SharedQueries<n>& queries) {
  OwnOutputs<n> own;
  own.channel = thread_index();
  for (std::uint32_t piece = 0; piece < task.value_dim; piece += kPiece) {
    own.present = piece + own.channel < task.value_dim;
    const auto for_outputs = [&](auto body) {
      for (unsigned q = 0; q < n; ++q) {
        if (!own.present || queries.end[q] == 0) continue;
        const std::size_t query = std::size_t{row_of(range, q)} * task.heads + head_of(range, q);
        body(state.outputs[query * task.value_dim + piece + own.channel], own.values[q]);
      }
    };
    for (float& value : own.values) value = 0;
    if (!first_span) for_outputs([](const float& stored, float& value) { value = stored; });
    add_span(task, range.kv_head, span, piece, queries, own);
    for_outputs([](float& stored, const float& value) { stored = value; });
  }
}

// What of a chunk the queries attend to, from the beginning of a span on.
struct Positions {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};
template <unsigned n>
HEARTH_DEVICE Positions attended(const SharedQueries<n>& queries, Positions chunk) {
  std::uint32_t first = ~0u, end = 0;
  for (unsigned q = 0; q < n; ++q) {
    first = queries.first[q] < first ? queries.first[q] : first;
    end = queries.end[q] > end ? queries.end[q] : end;
  }
  first = first / kSpan * kSpan;
  return {first > chunk.begin ? first : chunk.begin, end < chunk.end ? end : chunk.end};
}

// A span is a stored tile of KVarN.
template <unsigned n>
HEARTH_DEVICE bool reads_kvarn(const AttendTask& task, std::uint32_t span,
                               const SharedQueries<n>& queries) {
  const KvLayout& keys = task.keys.layout;
  if (keys.family != KvFamily::kKvarn) return false;
  for (std::uint32_t position = span; position < span + kSpan; position += kKvTile)
    if (readers_of(queries, keys, queries.encoded_keys, position).in_format != 0) return true;
  return false;
}

// Asks for the stored tiles of a span: what waits for them later finds them nearer.
HEARTH_DEVICE void prefetch_span(const KvMemory& memory, std::uint32_t head, std::uint32_t span,
                                 std::uint32_t end) {
  const KvLayout& layout = memory.layout;
  for (std::uint32_t position = span; position < span + kSpan && position < end;
       position += layout.tile) {
    if (position < layout.sink) continue;
    const std::byte* const tile = stored_tile(memory, head, position);
    prefetch_values(tile, layout.tile_bytes);
  }
}

// One chunk, whose state is left in `state`.
template <unsigned n>
HEARTH_DEVICE void attend_chunk(const AttendTask& task, const QueryRange& range,
                                std::uint32_t index, std::uint32_t size, const ChunkState& state,
                                SharedQueries<n>& queries, const QueryForms& forms) {
  for (unsigned q = thread_index(); q < n; q += block_threads()) {
    queries.maxima[q] = float_of(0xff800000u);
    queries.sums[q] = 0;
  }
  const Positions positions = attended(queries, {index * size, (index + 1) * size});
  const auto prefetch_from = [&](std::uint32_t span) {
    const auto stored = [&](std::uint32_t encoded) {
      return encoded < positions.end ? encoded : positions.end;
    };
    prefetch_span(task.keys, range.kv_head, span, stored(queries.encoded_keys[0]));
    if (!task.values_in_keys)
      prefetch_span(task.values, range.kv_head, span, stored(queries.encoded_values[0]));
  };
  prefetch_from(positions.begin);
  for (std::uint32_t span = positions.begin; span < positions.end; span += kSpan) {
    prefetch_from(span + kSpan);
    if (reads_kvarn(task, span, queries))
      fold_queries<n>(task.keys.layout, stored_tile(task.keys, range.kv_head, span), forms);
    sync_threads();
    score_span(task, range, span, queries, forms);
    sync_threads();
    weigh_span(task, span, queries);
    sync_threads();
    advance_sums(span, queries);
    if (values_coded(task.values.layout)) {
      measure_scales(task, range.kv_head, span, queries);
      sync_threads();
    }
    add_values(task, range, span, span == positions.begin, state, queries);
    sync_threads();
  }
  sync_threads();
  for (unsigned q = thread_index(); q < n; q += block_threads()) {
    if (queries.end[q] <= index * size) continue;  // the chunk is none of its context
    const std::size_t query = std::size_t{row_of(range, q)} * task.heads + head_of(range, q);
    state.maxima[query] = queries.maxima[q];
    state.sums[query] = queries.sums[q];
  }
}

// Block (any number of them, KV head × piece of its queries).
template <unsigned n>
HEARTH_KERNEL(kAttendThreads, 4)
attend_chunks(AttendTask task) {
  wait_for_previous();
  HEARTH_SHARED(SharedQueries<n>, queries);
  HEARTH_DYNAMIC_SHARED(float, memory);
  const QueryForms forms = query_forms(memory, n, task.keys.layout.dim);
  const QueryRange range = query_range<n>(task, block_y());
  const std::uint32_t position = *task.position + row_of(range, 0);
  const std::uint32_t end = *task.position + row_of(range, range.count - 1) + 1;
  if (block_x() * attention_chunk(position + 1) >= end) return;  // a launch is for any context
  load_queries<n>(task, range, forms);
  // Rows on both sides of a power of two of positions have chunks of two sizes.
  for (std::uint32_t size = attention_chunk(position + 1); size <= attention_chunk(end);
       size *= 2) {
    sync_threads();
    load_positions(task, range, size, queries);
    sync_threads();
    for (std::uint32_t index = block_x(); index * size < end; index += grid_x())
      attend_chunk(task, range, index, size, chunk_state(task, index), queries, forms);
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
