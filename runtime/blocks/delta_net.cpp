#include "runtime/blocks/delta_net.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/delta_gates.h"
#include "runtime/blocks/linear.h"

namespace hearth::runtime {

using kernels::kDeltaPanel;
using kernels::kMaxConvolutionChannels;

namespace {

// Columns of a state that one task computes: with 128 keys 32 KiB, which stay in the first cache
// for all rows.
constexpr std::uint32_t kTaskPanels = 4;

}  // namespace

DeltaNetBlock::DeltaNetBlock(LayerIndex layer, const DeltaNetShape& shape, float epsilon,
                             const Weights& weights)
    : layer_(layer), shape_(shape), epsilon_(epsilon), weights_(weights) {
  CHECK((weights.fused == nullptr) == (weights.qkv != nullptr && weights.z != nullptr));
  CHECK((weights.fused_gates == nullptr) == (weights.alpha != nullptr && weights.beta != nullptr));
  const std::uint32_t gates = shape.value_heads;
  std::uint32_t end = 0;
  const auto take = [&](std::uint32_t floats) {
    end += floats;
    return end - floats;
  };
  take(shape.channels());
  at_.z = take(shape.values());
  at_.decay = take(gates);
  at_.strength = take(gates);
  at_.fused_gates = take(weights.fused_gates == nullptr ? 0 : 2 * gates);
  at_.fused = take(weights.fused == nullptr ? 0 : shape.channels() + shape.values());
  at_.width = end;
}

void DeltaNetBlock::state_needs(ScratchShape& scratch, KvLayer&) const {
  ScratchShape::raise(scratch.projections, at_.width);
  ScratchShape::raise(scratch.attention_width, shape_.values());
}

void DeltaNetBlock::recurrent_needs(RecurrentLayer& recurrent) const {
  recurrent.state = std::uint64_t{shape_.value_heads} * shape_.key_dim * shape_.value_dim;
  recurrent.window = std::uint64_t{shape_.taps - 1} * shape_.channels();
}

void DeltaNetBlock::run(Step& step) const {
  const Nanoseconds start = step.clock.now();
  normalize(step, weights_.norm.data(), epsilon_, {0, step.rows()});
  project_inputs(step);
  convolve(step);
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) { prepare_row(step, row); });
  step.scratch.attended.set_shape(step.rows(), shape_.values());
  update_states(step);
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) { finish_row(step, row); });
  project(step, step.scratch.attended.view(), {{weights_.output, step.scratch.block_out.data()}},
          step.scratch.shape.embedding);
  add_block_out(step);
  step.times.attention += step.clock.now() - start;
}

void DeltaNetBlock::project_inputs(const Step& step) const {
  const kernels::Activations x = step.scratch.normed.view();
  float* const row = row_of(step, 0);
  const Weights& w = weights_;
  if (w.fused != nullptr)
    project(step, x, {{w.fused, row + at_.fused}, {w.fused_gates, row + at_.fused_gates}},
            at_.width);
  else if (w.fused_gates != nullptr)
    project(step, x, {{w.qkv, row}, {w.z, row + at_.z}, {w.fused_gates, row + at_.fused_gates}},
            at_.width);
  else
    project(step, x,
            {{w.qkv, row},
             {w.z, row + at_.z},
             {w.alpha, row + at_.decay},
             {w.beta, row + at_.strength}},
            at_.width);
  if (w.fused_gates == nullptr) return;
  for_rows(step, step.rows(), [&](std::uint32_t i, std::uint32_t) { take_apart(step, i); });
}

// What lies per key head becomes q | k | v, z, alpha, beta of all heads.
void DeltaNetBlock::take_apart(const Step& step, std::uint32_t row) const {
  float* const to = row_of(step, row);
  const std::uint32_t share = shape_.heads_per_key();
  const auto copy = [&](const float* from, std::uint32_t count, float* into) {
    std::memcpy(into, from, count * sizeof(float));
    return from + count;
  };
  for (std::uint32_t head = 0; head < shape_.key_heads; ++head) {
    const float* gates = to + at_.fused_gates + std::size_t{head} * 2 * share;
    gates = copy(gates, share, to + at_.strength + head * share);
    copy(gates, share, to + at_.decay + head * share);
    if (weights_.fused == nullptr) continue;
    const std::uint32_t values = share * shape_.value_dim;
    const float* from = to + at_.fused + std::size_t{head} * 2 * (shape_.key_dim + values);
    from = copy(from, shape_.key_dim, to + head * shape_.key_dim);
    from = copy(from, shape_.key_dim, to + shape_.keys() + head * shape_.key_dim);
    from = copy(from, values, to + 2 * shape_.keys() + head * values);
    copy(from, values, to + at_.z + head * values);
  }
}

void DeltaNetBlock::convolve(const Step& step) const {
  const std::uint32_t channels = shape_.channels();
  const auto* const weights = reinterpret_cast<const float*>(weights_.convolution->data);
  float* const window = step.recurrent.window(layer_).data();
  const std::uint32_t tasks = (channels + kMaxConvolutionChannels - 1) / kMaxConvolutionChannels;
  step.pool.run(tasks, [&](std::uint32_t task, std::uint32_t) {
    const std::uint32_t begin = task * kMaxConvolutionChannels;
    step.kernels.convolve({.rows = step.rows(),
                           .channels = std::min(kMaxConvolutionChannels, channels - begin),
                           .taps = shape_.taps,
                           .weights = weights + std::size_t{begin} * shape_.taps,
                           .window = window + begin,
                           .window_stride = channels,
                           .x = row_of(step, 0) + begin,
                           .stride = at_.width});
  });
}

// Lengths of queries and keys, and the gates.
void DeltaNetBlock::prepare_row(const Step& step, std::uint32_t row) const {
  float* const query = row_of(step, row);
  float* const key = query + shape_.keys();
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.key_dim));
  for (std::uint32_t head = 0; head < shape_.key_heads; ++head) {
    float* const q = query + head * shape_.key_dim;
    float* const k = key + head * shape_.key_dim;
    step.kernels.l2_norm(q, shape_.key_dim, epsilon_, scale, q);
    step.kernels.l2_norm(k, shape_.key_dim, epsilon_, 1, k);
  }
  for (std::uint32_t head = 0; head < shape_.value_heads; ++head) {
    float& decay = query[at_.decay + head];
    float& strength = query[at_.strength + head];
    const kernels::DeltaGates gates = kernels::delta_gates(decay, weights_.bias.data()[head],
                                                           weights_.rate.data()[head], strength);
    decay = gates.decay;
    strength = gates.strength;
  }
}

void DeltaNetBlock::update_states(const Step& step) const {
  const std::uint32_t panels = shape_.value_dim / kDeltaPanel;
  const std::uint32_t pieces = (panels + kTaskPanels - 1) / kTaskPanels;
  const std::size_t panel_size = std::size_t{shape_.key_dim} * kDeltaPanel;
  float* const states = step.recurrent.state(layer_).data();
  const float* const first = row_of(step, 0);
  kernels::ActivationBuffer& out = step.scratch.attended;
  step.pool.run(shape_.value_heads * pieces, [&](std::uint32_t task, std::uint32_t) {
    const std::uint32_t head = task / pieces, panel = task % pieces * kTaskPanels;
    const std::uint32_t column = head * shape_.value_dim + panel * kDeltaPanel;
    const float* const query = first + shape_.key_head_of(head) * shape_.key_dim;
    step.kernels.update_delta({.rows = step.rows(),
                               .key_dim = shape_.key_dim,
                               .panels = std::min(kTaskPanels, panels - panel),
                               .state = states + (std::size_t{head} * panels + panel) * panel_size,
                               .query = query,
                               .key = query + shape_.keys(),
                               .value = first + 2 * shape_.keys() + column,
                               .stride = at_.width,
                               .decay = first + at_.decay + head,
                               .strength = first + at_.strength + head,
                               .gate_stride = at_.width,
                               .out = out.values(0) + column,
                               .out_stride = out.stride()});
  });
}

// Norm of each head, times silu(z).
void DeltaNetBlock::finish_row(const Step& step, std::uint32_t row) const {
  kernels::ActivationBuffer& out = step.scratch.attended;
  float* const values = out.values(row);
  for (std::uint32_t head = 0; head < shape_.value_heads; ++head) {
    float* const of_head = values + head * shape_.value_dim;
    step.kernels.rms_norm(of_head, weights_.head_norm.data(), shape_.value_dim, epsilon_, of_head);
  }
  step.kernels.silu_multiply(row_of(step, row) + at_.z, values, shape_.values(), values);
  step.kernels.quantize(values, out.columns(), out.codes(row), out.scales(row), out.sums(row));
}

}  // namespace hearth::runtime
