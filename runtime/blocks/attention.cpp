#include "runtime/blocks/attention.h"

#include <algorithm>

#include "runtime/blocks/linear.h"

namespace hearth::runtime {

using kernels::KvPart;

AttentionBlock::AttentionBlock(LayerIndex layer, const ModelConfig& config, const Weights& weights)
    : layer_(layer),
      shape_{config.heads, config.kv_heads, config.key_dim, config.value_dim},
      rope_dims_(config.rope_dims),
      epsilon_(config.rms_epsilon),
      weights_(weights) {}

void AttentionBlock::state_needs(ScratchShape& scratch, KvLayer& kv) const {
  ScratchShape::raise(scratch.projections, projected_width());
  ScratchShape::raise(scratch.attention_width, shape_.heads * shape_.value_dim);
  ScratchShape::raise(scratch.attention_states, shape_.heads * (shape_.value_dim + 2));
  ScratchShape::raise(scratch.key_dim, shape_.key_dim);
  ScratchShape::raise(scratch.value_dim, shape_.value_dim);
  ScratchShape::raise(scratch.rope_dims, rope_dims_);
  kv = {shape_.kv_heads, shape_.key_dim, shape_.value_dim};
}

void AttentionBlock::run(Step& step) const {
  const Nanoseconds start = step.clock.now();
  normalize(step, weights_.norm.data(), epsilon_, {0, step.rows()});
  float* const projected = step.scratch.projected.data();
  project(step, step.scratch.normed.view(),
          {{weights_.query, projected},
           {weights_.key, projected + query_width()},
           {weights_.value, projected + query_width() + key_width()}},
          projected_width());
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) { prepare_row(step, row); });
  const std::uint32_t tile = step.position / kernels::kKvTile;
  const std::uint32_t last = (step.position + step.rows() - 1) / kernels::kKvTile;
  for_rows(step, last - tile + 1,
           [&](std::uint32_t i, std::uint32_t) { store_tile(step, tile + i); });
  encode_due(step);
  attend(step, layer_, shape_, {projected, projected_width()});
  quantize_rows(step, step.scratch.attended);
  project(step, step.scratch.attended.view(), {{weights_.output, step.scratch.block_out.data()}},
          step.scratch.shape.embedding);
  add_block_out(step);
  step.times.attention += step.clock.now() - start;
}

// Biases, head norms and rotations of one token's projections.
void AttentionBlock::prepare_row(Step& step, std::uint32_t row) const {
  const kernels::CpuKernels& k = step.kernels;
  float* const query = step.scratch.projected.data() + std::size_t{row} * projected_width();
  float* const key = query + query_width();
  float* const value = key + key_width();
  if (weights_.query_bias.present()) k.add(weights_.query_bias.data(), query_width(), query);
  if (weights_.key_bias.present()) k.add(weights_.key_bias.data(), key_width(), key);
  if (weights_.value_bias.present()) k.add(weights_.value_bias.data(), value_width(), value);

  const std::uint32_t half = rope_dims_ / 2;
  const float* const cosine = step.scratch.rope_cosine.data() + std::size_t{row} * half;
  const float* const sine = step.scratch.rope_sine.data() + std::size_t{row} * half;
  const auto norm_and_rotate = [&](float* head, const WeightVector& norm) {
    if (norm.present()) k.rms_norm(head, norm.data(), shape_.key_dim, epsilon_, head);
    k.rope_halves(head, cosine, sine, half);
  };
  for (std::uint32_t h = 0; h < shape_.heads; ++h)
    norm_and_rotate(query + h * shape_.key_dim, weights_.query_norm);
  for (std::uint32_t h = 0; h < shape_.kv_heads; ++h)
    norm_and_rotate(key + h * shape_.key_dim, weights_.key_norm);

  const KvFormats& formats = step.kv.formats();
  rotate(k, formats.rotation(KvPart::kKeys, shape_.key_dim), query_width() + key_width(), query);
  rotate(k, formats.rotation(KvPart::kValues, shape_.value_dim), value_width(), value);
}

// Keys and values of the step's rows that belong to a tile of the cache.
void AttentionBlock::store_tile(Step& step, std::uint32_t tile) const {
  const std::uint32_t begin = std::max(step.position, tile * kernels::kKvTile);
  const std::uint32_t end = std::min(step.position + step.rows(), (tile + 1) * kernels::kKvTile);
  for (std::uint32_t position = begin; position < end; ++position) {
    const float* const key = step.scratch.projected.data() +
                             std::size_t{position - step.position} * projected_width() +
                             query_width();
    const float* const value = key + key_width();
    for (std::uint32_t h = 0; h < shape_.kv_heads; ++h) {
      step.kv.store(layer_, KvPart::kKeys, h, position, key + h * shape_.key_dim);
      step.kv.store(layer_, KvPart::kValues, h, position, value + h * shape_.value_dim);
    }
  }
}

// Tiles that rows of this step are the first to read in the format.
void AttentionBlock::encode_due(Step& step) const {
  const TileRange keys = step.kv.due(KvPart::kKeys, step.position, step.rows());
  const TileRange values = step.kv.due(KvPart::kValues, step.position, step.rows());
  const std::uint32_t tiles = keys.count() + values.count();
  if (tiles == 0) return;
  step.pool.run(tiles * shape_.kv_heads, [&](std::uint32_t task, std::uint32_t worker) {
    float* const rows = step.scratch.attention[worker].tile.data();
    const std::uint32_t tile = task / shape_.kv_heads, head = task % shape_.kv_heads;
    if (tile < keys.count())
      step.kv.encode(layer_, KvPart::kKeys, head, keys.begin + tile, rows);
    else
      step.kv.encode(layer_, KvPart::kValues, head, values.begin + tile - keys.count(), rows);
  });
}

}  // namespace hearth::runtime
