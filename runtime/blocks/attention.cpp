#include "runtime/blocks/attention.h"

#include <algorithm>
#include <cmath>

#include "runtime/blocks/linear.h"

namespace hearth::runtime {

using kernels::KvPart;

float QueryStretch::factor(std::uint32_t position) const {
  const double passed = every == 0 ? 0 : (position + 1) / every;
  return static_cast<float>(1 + static_cast<double>(slope) * std::log1p(passed));
}

AttentionBlock::AttentionBlock(LayerIndex layer, const ModelConfig& config, const Options& options,
                               const Weights& weights)
    : layer_(layer),
      shape_(options.shape),
      options_(options),
      epsilon_(config.rms_epsilon),
      weights_(weights) {}

void AttentionBlock::state_needs(ScratchShape& scratch, KvLayer& kv) const {
  ScratchShape::raise(scratch.projections, projected_width());
  ScratchShape::raise(scratch.attention_width, shape_.heads * shape_.value_dim);
  ScratchShape::raise(scratch.attention_states, shape_.heads * (shape_.value_dim + 2));
  ScratchShape::raise(scratch.key_dim, shape_.key_dim);
  ScratchShape::raise(scratch.value_dim, shape_.value_dim);
  if (has_keys()) kv = {shape_.kv_heads, shape_.key_dim, shape_.value_dim};
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
  if (has_keys()) fill_cache(step);
  attend(step, options_.cache.value_or(layer_), shape_, {projected, projected_width()});
  quantize_rows(step, step.scratch.attended);
  project(step, step.scratch.attended.view(), {{weights_.output, step.scratch.block_out.data()}},
          step.scratch.shape.embedding);
  finish_output(step);
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
  if (weights_.value == nullptr) std::copy_n(key, value_width(), value);

  prepare_heads(step, row, weights_.query_norm, query_width(), query);
  prepare_heads(step, row, weights_.key_norm, key_width(), key);
  if (options_.stretch.every > 0)
    k.scale(options_.stretch.factor(step.position + row), query_width(), query);
  if (options_.values_normed) norm_each(k, nullptr, value_width(), shape_.value_dim, value);

  const KvFormats& formats = step.kv.formats();
  rotate(k, formats.rotation(KvPart::kKeys, shape_.key_dim), query_width() + key_width(), query);
  rotate(k, formats.rotation(KvPart::kValues, shape_.value_dim), value_width(), value);
}

// Norm and rotation of the queries, or of the keys, of one token.
void AttentionBlock::prepare_heads(const Step& step, std::uint32_t row, const WeightVector& norm,
                                   std::uint32_t width, float* heads) const {
  const kernels::CpuKernels& k = step.kernels;
  if (norm.present() && width > 0) norm_each(k, norm.data(), width, norm.matrix->columns, heads);
  const std::uint32_t half = options_.rotary.half;
  if (half == 0) return;
  const std::size_t at =
      std::size_t{row} * (step.scratch.shape.rope_dims / 2) + options_.rotary.begin;
  const float* const cosine = step.scratch.rope_cosine.data() + at;
  const float* const sine = step.scratch.rope_sine.data() + at;
  const auto turn = options_.pairs == RotaryPairs::kHalves ? k.rope_halves : k.rope_pairs;
  for (std::uint32_t begin = 0; begin < width; begin += shape_.key_dim)
    turn(heads + begin, cosine, sine, half);
  if (options_.rotated_normed) norm_each(k, nullptr, width, shape_.key_dim, heads);
}

// Of `width` values each `size`.
void AttentionBlock::norm_each(const kernels::CpuKernels& kernels, const float* weight,
                               std::uint32_t width, std::uint32_t size, float* values) const {
  for (std::uint32_t begin = 0; begin < width; begin += size)
    kernels.rms_norm(values + begin, weight, size, epsilon_, values + begin);
}

void AttentionBlock::finish_output(const Step& step) const {
  if (weights_.output_bias.present())
    for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
      step.kernels.add(weights_.output_bias.data(), step.scratch.shape.embedding,
                       step.block_out(row));
    });
  if (weights_.output_norm.present())
    normalize_block_out(step, weights_.output_norm.data(), epsilon_);
}

void AttentionBlock::fill_cache(Step& step) const {
  const std::uint32_t tile = step.position / kernels::kKvTile;
  const std::uint32_t last = (step.position + step.rows() - 1) / kernels::kKvTile;
  for_rows(step, last - tile + 1,
           [&](std::uint32_t i, std::uint32_t) { store_tile(step, tile + i); });
  encode_due(step);
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
