#include "runtime/blocks/cached_attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace hearth::runtime {
namespace {

using kernels::attention_chunk;
using kernels::AttentionState;
using kernels::AttentionTask;
using kernels::kMaxAttentionQueries;
using kernels::KvPart;

std::uint32_t pieces(std::uint32_t count, std::uint32_t size) { return (count + size - 1) / size; }

// Rows and heads that are computed together. The heads share a KV head.
struct QueryTile {
  std::uint32_t row_begin, row_end;
  std::uint32_t head_begin, head_end;
  std::uint32_t kv_head;

  std::uint32_t rows() const { return row_end - row_begin; }
  std::uint32_t heads() const { return head_end - head_begin; }
  std::uint32_t queries() const { return rows() * heads(); }
};

class CachedAttention {
 public:
  CachedAttention(const Step& step, LayerIndex layer, const AttentionShape& shape,
                  const RowQueries& queries, const RowResults& results)
      : step_(step),
        layer_(layer),
        shape_(shape),
        queries_(queries),
        results_(results),
        group_(shape.heads / shape.kv_heads),
        tile_heads_(heads_of_tile()),
        most_rows_(kMaxAttentionQueries / tile_heads_),
        rotation_(value_rotation()),
        quantized_(kernels::traits(step.kv.formats().keys).quantized()) {}

  void run() const {
    if (chunks_are_tasks())
      run_chunks();
    else
      run_rows();
  }

 private:
  // Where many heads share a KV head they are divided among workers that few rows would leave idle;
  // eight together still share what a tile costs.
  std::uint32_t heads_of_tile() const {
    constexpr std::uint32_t kFewest = 8;
    const std::uint32_t most = std::min(group_, kMaxAttentionQueries);
    const std::uint32_t for_all = pieces(step_.rows() * shape_.heads, step_.pool.threads());
    return std::clamp(for_all, std::min(kFewest, most), most);
  }
  kernels::KvRotation value_rotation() const {
    const KvFormats& formats = step_.kv.formats();
    return shape_.values_in_keys ? formats.latent_rotation(shape_.key_dim, shape_.value_dim)
                                 : formats.rotation(KvPart::kValues, shape_.value_dim);
  }

  // Four tasks for each worker are enough to finish together.
  std::uint32_t wanted_tasks() const { return 4 * step_.pool.threads(); }
  std::uint32_t positions(std::uint32_t row) const { return step_.position + row + 1; }
  std::uint32_t head_tiles() const { return shape_.kv_heads * pieces(group_, tile_heads_); }

  QueryTile query_tile(std::uint32_t index, std::uint32_t tile_rows) const {
    const std::uint32_t row = index / head_tiles() * tile_rows, of_row = index % head_tiles();
    const std::uint32_t kv_head = of_row / pieces(group_, tile_heads_);
    const std::uint32_t head = of_row % pieces(group_, tile_heads_) * tile_heads_;
    return {.row_begin = row,
            .row_end = std::min(row + tile_rows, step_.rows()),
            .head_begin = kv_head * group_ + head,
            .head_end = kv_head * group_ + std::min(head + tile_heads_, group_),
            .kv_head = kv_head};
  }

  bool chunks_are_tasks() const {
    const std::uint32_t last = positions(step_.rows() - 1), chunk = attention_chunk(last);
    return step_.rows() <= kSideBySideRows && last > chunk &&
           attention_chunk(positions(0)) == chunk &&
           step_.rows() * shape_.kv_heads < wanted_tasks();
  }

  void run_rows() const {
    const std::uint32_t tile_rows =
        std::clamp(step_.rows() * shape_.kv_heads / wanted_tasks(), 1u, most_rows_);
    step_.pool.run(pieces(step_.rows(), tile_rows) * head_tiles(),
                   [&](std::uint32_t task, std::uint32_t worker) {
                     walk(query_tile(task, tile_rows), step_.scratch.attention[worker]);
                   });
  }

  // Rows from different powers of two of positions on have different chunks.
  void walk(QueryTile tile, AttentionScratch& own) const {
    const std::uint32_t end = tile.row_end;
    for (; tile.row_begin < end; tile.row_begin = tile.row_end) {
      const std::uint32_t chunk = attention_chunk(positions(tile.row_begin));
      tile.row_end = tile.row_begin + 1;
      while (tile.row_end < end && attention_chunk(positions(tile.row_end)) == chunk)
        ++tile.row_end;
      gather(tile, own);
      AttentionTask task = task_of(tile, own);
      for (std::uint32_t c = 0; c < pieces(positions(tile.row_end - 1), chunk); ++c) {
        task.chunk_begin = c * chunk;
        task.chunk_end = task.chunk_begin + chunk;
        step_.kernels.attend(task, c == 0 ? own.merged : own.one);
        if (c > 0)
          step_.kernels.merge_attention(task.queries, shape_.value_dim, own.one, own.merged);
      }
      finish(tile, own.merged);
    }
  }

  void run_chunks() const {
    const std::uint32_t last = positions(step_.rows() - 1), chunk = attention_chunk(last);
    const std::uint32_t chunks = pieces(last, chunk);
    const std::uint32_t tiles = pieces(step_.rows(), most_rows_) * head_tiles();
    for (AttentionScratch& own : step_.scratch.attention) own.gathered = AttentionScratch::kNoTile;
    step_.pool.run(tiles * chunks, [&](std::uint32_t index, std::uint32_t worker) {
      run_chunk(index / chunks, index % chunks * chunk, chunk, step_.scratch.attention[worker]);
    });
    step_.pool.run(tiles, [&](std::uint32_t index, std::uint32_t) {
      const QueryTile tile = query_tile(index, most_rows_);
      const AttentionState merged = state_of(tile, 0);
      for (std::uint32_t c = 1; c < chunks; ++c)
        step_.kernels.merge_attention(tile.queries(), shape_.value_dim, state_of(tile, c), merged);
      finish(tile, merged);
    });
  }

  // Tasks of a worker are neighbours mostly. Who has computed all chunks of a tile before this one
  // merges it at once, while it is in the caches: what all chunks leave is a good part of the bytes
  // of a quantized cache. The chunk then leaves sums of zero, as if nobody attended to it.
  void run_chunk(std::uint32_t index, std::uint32_t begin, std::uint32_t chunk,
                 AttentionScratch& own) const {
    const QueryTile tile = query_tile(index, most_rows_);
    if (own.gathered != index) {
      gather(tile, own);
      own.gathered = index;
      own.merged_end = 0;
    }
    AttentionTask task = task_of(tile, own);
    task.chunk_begin = begin;
    task.chunk_end = begin + chunk;
    const AttentionState left = state_of(tile, begin / chunk);
    const bool merges = begin == own.merged_end;
    if (merges) own.merged_end = task.chunk_end;
    if (!merges || begin == 0) {
      step_.kernels.attend(task, left);
    } else {
      step_.kernels.attend(task, own.one);
      step_.kernels.merge_attention(task.queries, shape_.value_dim, own.one, state_of(tile, 0));
      std::fill_n(left.sums, task.queries, 0.0f);
    }
  }

  // Where chunk `chunk` leaves the state of a tile. The queries of a chunk are in the order of the
  // tiles: those of the rows before, then those of the heads before.
  AttentionState state_of(const QueryTile& tile, std::uint32_t chunk) const {
    const std::size_t queries = std::size_t{step_.rows()} * shape_.heads;
    const std::size_t before =
        std::size_t{tile.row_begin} * shape_.heads + std::size_t{tile.rows()} * tile.head_begin;
    float* const floats =
        step_.scratch.attention_states.data() + chunk * queries * (shape_.value_dim + 2);
    return {.maxima = floats + before,
            .sums = floats + queries + before,
            .outputs = floats + 2 * queries + before * shape_.value_dim};
  }

  // The queries of a tile side by side.
  void gather(const QueryTile& tile, AttentionScratch& own) const {
    const KvCache& kv = step_.kv;
    const std::size_t width = std::size_t{tile.heads()} * shape_.key_dim;
    std::uint32_t query = 0;
    for (std::uint32_t row = tile.row_begin; row < tile.row_end; ++row) {
      std::memcpy(
          own.queries.data() + std::size_t{query} * shape_.key_dim,
          queries_.values + row * queries_.stride + std::size_t{tile.head_begin} * shape_.key_dim,
          width * sizeof(float));
      for (std::uint32_t head = 0; head < tile.heads(); ++head, ++query) {
        own.first[query] = shape_.window.first(step_.position + row);
        own.end[query] = positions(row);
        own.encoded_keys[query] = kv.encoded(KvPart::kKeys, step_.position + row);
        own.encoded_values[query] = kv.encoded(KvPart::kValues, step_.position + row);
      }
    }
    if (quantized_)
      step_.kernels.quantize(own.queries.data(), query * shape_.key_dim, own.codes.data(),
                             own.scales.data(), own.sums.data());
  }

  // All but its chunk, of queries that were gathered.
  AttentionTask task_of(const QueryTile& tile, AttentionScratch& own) const {
    return {.queries = tile.queries(),
            .key_dim = shape_.key_dim,
            .value_dim = shape_.value_dim,
            .scale = shape_.score_scale(),
            .values = own.queries.data(),
            .codes = quantized_ ? own.codes.data() : nullptr,
            .scales = quantized_ ? own.scales.data() : nullptr,
            .sums = quantized_ ? own.sums.data() : nullptr,
            .folded = {.quantize = step_.kernels.quantize,
                       .codes = own.folded_codes.data(),
                       .scales = own.folded_scales.data(),
                       .sums = own.folded_sums.data(),
                       .zeros = own.zeros.data()},
            .first = own.first.data(),
            .end = own.end.data(),
            .encoded_keys = own.encoded_keys.data(),
            .encoded_values = own.encoded_values.data(),
            .keys = step_.kv.source(layer_, KvPart::kKeys, tile.kv_head),
            .value_source = shape_.values_in_keys
                                ? kernels::KvSource{}
                                : step_.kv.source(layer_, KvPart::kValues, tile.kv_head),
            .values_in_keys = shape_.values_in_keys};
  }

  void finish(const QueryTile& tile, const AttentionState& state) const {
    constexpr float kNoSink = -std::numeric_limits<float>::infinity();
    std::uint32_t query = 0;
    for (std::uint32_t row = tile.row_begin; row < tile.row_end; ++row)
      for (std::uint32_t head = tile.head_begin; head < tile.head_end; ++head, ++query) {
        float* const result = results_.values + row * results_.stride + head * results_.head_stride;
        const float sink = shape_.sinks.present() ? shape_.sinks.data()[head] : kNoSink;
        step_.kernels.finish_attention(state.maxima[query], state.sums[query], sink,
                                       state.outputs + std::size_t{query} * shape_.value_dim,
                                       shape_.value_dim, result);
        rotate_back(step_.kernels, rotation_, shape_.value_dim, result);
      }
  }

  const Step& step_;
  const LayerIndex layer_;
  const AttentionShape& shape_;
  const RowQueries& queries_;
  const RowResults& results_;
  const std::uint32_t group_, tile_heads_, most_rows_;
  const kernels::KvRotation rotation_;
  const bool quantized_;
};

}  // namespace

void attend(const Step& step, LayerIndex layer, const AttentionShape& shape,
            const RowQueries& queries, const RowResults& results) {
  CachedAttention(step, layer, shape, queries, results).run();
}

void attend(const Step& step, LayerIndex layer, const AttentionShape& shape,
            const RowQueries& queries) {
  kernels::ActivationBuffer& attended = step.scratch.attended;
  attended.set_shape(step.rows(), shape.heads * shape.value_dim);
  attend(step, layer, shape, queries, {attended.values(0), attended.stride(), shape.value_dim});
}

}  // namespace hearth::runtime
