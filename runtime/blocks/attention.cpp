#include "runtime/blocks/attention.h"

#include <cmath>

#include "runtime/blocks/linear.h"

namespace hearth::runtime {

AttentionBlock::AttentionBlock(LayerIndex layer, const ModelConfig& config, const Weights& weights)
    : layer_(layer),
      heads_(config.heads),
      kv_heads_(config.kv_heads),
      key_dim_(config.key_dim),
      value_dim_(config.value_dim),
      rope_dims_(config.rope_dims),
      epsilon_(config.rms_epsilon),
      weights_(weights) {}

void AttentionBlock::state_needs(ScratchShape& scratch, KvLayer& kv) const {
  ScratchShape::raise(scratch.projections, projected_width());
  ScratchShape::raise(scratch.attention_width, heads_ * value_dim_);
  ScratchShape::raise(scratch.rope_dims, rope_dims_);
  kv = {kv_heads_, key_dim_, value_dim_};
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
  attend(step);
  quantize_rows(step, step.scratch.attended);
  project(step, step.scratch.attended.view(), {{weights_.output, step.scratch.block_out.data()}},
          step.scratch.shape.embedding);
  add_block_out(step);
  step.times.attention += step.clock.now() - start;
}

// Biases, head norms and rotation of one token's projections; its key and value enter the cache.
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
    if (norm.present()) k.rms_norm(head, norm.data(), key_dim_, epsilon_, head);
    k.rope_halves(head, cosine, sine, half);
  };
  for (std::uint32_t h = 0; h < heads_; ++h)
    norm_and_rotate(query + h * key_dim_, weights_.query_norm);

  const std::size_t position = step.position + row;
  for (std::uint32_t h = 0; h < kv_heads_; ++h) {
    norm_and_rotate(key + h * key_dim_, weights_.key_norm);
    k.to_f16(key + h * key_dim_, key_dim_, step.kv.keys(layer_, h) + position * key_dim_);
    k.to_f16(value + h * value_dim_, value_dim_, step.kv.values(layer_, h) + position * value_dim_);
  }
}

void AttentionBlock::attend(Step& step) const {
  const std::uint32_t group = heads_ / kv_heads_;
  const float scale = 1.0f / std::sqrt(static_cast<float>(key_dim_));
  step.scratch.attended.set_shape(step.rows(), heads_ * value_dim_);
  step.pool.run(step.rows() * kv_heads_, [&](std::uint32_t task, std::uint32_t) {
    const std::uint32_t row = task / kv_heads_, kv_head = task % kv_heads_;
    const std::uint32_t first_head = kv_head * group;
    step.kernels.attend({.queries = step.scratch.projected.data() +
                                    std::size_t{row} * projected_width() + first_head * key_dim_,
                         .keys = step.kv.keys(layer_, kv_head),
                         .values = step.kv.values(layer_, kv_head),
                         .out = step.scratch.attended.values(row) + first_head * value_dim_,
                         .positions = step.position + row + 1,
                         .group = group,
                         .head_dim = key_dim_,
                         .value_dim = value_dim_,
                         .scale = scale});
  });
}

}  // namespace hearth::runtime
