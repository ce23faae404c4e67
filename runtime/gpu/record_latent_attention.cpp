// LatentAttentionBlock on a device.
#include "runtime/blocks/latent_attention.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/gpu/device_step.h"
#include "runtime/gpu/record_cache.h"

namespace hearth::runtime {

using kernels::Activations;
using kernels::GpuKernels;
using kernels::HeadGroup;
using kernels::KvPart;
using kernels::QuantizeTask;

class RecordedLatentAttention {
 public:
  RecordedLatentAttention(const LatentAttentionBlock& block, DeviceStep& step)
      : b_(block),
        o_(block.o_),
        w_(block.weights_),
        step_(step),
        first_(step.scratch.projected),
        queries_(first_ + o_.query_rank),
        cached_(first_ + block.cached_begin()),
        absorbed_(first_ + block.absorbed_begin()),
        stride_(block.projected_width()),
        rotation_(kernels::rotation_layout(
            step.kv.formats().latent_rotation(block.cached_width(), o_.latent_dim))) {}

  void run() const {
    project(step_.enter(b_.epsilon_, w_.norm,
                        step_.ahead({w_.latent, w_.query_a == nullptr ? w_.query : w_.query_a})));
    record_turn(step_, o_.rotary, b_.epsilon_, {rotated_parts(), cached_row()});
    record_encode(step_, b_.layer_, 1);
    absorb_keys();
    const auto latents = product_heads(o_.latent_dim);
    record_attend(
        step_, b_.layer_, shape(), {absorbed_, stride_}, {.apart = true, .to = latents},
        step_.ahead({w_.value.weights == w_.key.weights ? nullptr : w_.value.weights, w_.output}));
    const auto found = multiply_values(QuantizeTask{.to = latents}.result());
    step_.multiply(QuantizeTask{.to = found}.result(), {{w_.output, step_.scratch.block_out}},
                   step_.embedding());
    step_.give_block_out();
  }

 private:
  // Queries of lower rank lie in `attended` until attention needs it.
  void project(const Activations& x) const {
    if (w_.query_a == nullptr)
      return step_.multiply(x, {{w_.latent, cached_}, {w_.query, queries_}}, stride_);
    step_.multiply(x, {{w_.latent, cached_}, {w_.query_a, first_}}, stride_);
    const auto low = step_.scratch.attended.shaped(step_.rows, o_.query_rank);
    step_.launch(&GpuKernels::normalize,
                 {.rows = step_.rows,
                  .columns = o_.query_rank,
                  .x = first_,
                  .x_stride = stride_,
                  .epsilon = b_.epsilon_,
                  .outputs = {{.weight = step_.weights.of(w_.query_a_norm), .to = low}},
                  .ahead = step_.ahead({w_.query})});
    step_.multiply(QuantizeTask{.to = low}.result(), {{w_.query, queries_}}, stride_);
  }

  // The rotated part of each query, to where it lies in the space of cached rows.
  HeadGroup rotated_parts() const {
    return {.heads = o_.heads,
            .dim = o_.rotated_dim,
            .from = queries_ + o_.plain_dim,
            .from_stride = stride_,
            .from_head_stride = b_.query_width(),
            .x = absorbed_ + o_.latent_dim,
            .stride = stride_,
            .head_stride = b_.cached_width(),
            .half = o_.rotary.half,
            .neighbours = true};
  }
  HeadGroup cached_row() const {
    return {.heads = 1,
            .dim = b_.cached_width(),
            .from = cached_,
            .from_stride = stride_,
            .normed = o_.latent_dim,
            .weight = step_.weights.of(w_.latent_norm),
            .half = o_.rotary.half,
            .first = o_.latent_dim,
            .neighbours = true,
            .rotation = rotation_,
            .to = step_.kv.memory(b_.layer_, KvPart::kKeys)};
  }
  // Of absorbed queries as a whole.
  HeadGroup absorbed_heads() const {
    return {.heads = o_.heads,
            .dim = b_.cached_width(),
            .x = absorbed_,
            .stride = stride_,
            .head_stride = b_.cached_width(),
            .rotation = rotation_};
  }

  // The plain part of each query times the key matrix of its head.
  void absorb_keys() const {
    const auto plain = product_heads(o_.plain_dim);
    step_.launch(&GpuKernels::quantize, {.x = queries_,
                                         .x_stride = stride_,
                                         .heads = o_.heads,
                                         .head_stride = b_.query_width(),
                                         .to = plain});
    multiply_heads(w_.key, QuantizeTask{.to = plain}.result(), absorbed_, stride_,
                   b_.cached_width());
    if (rotation_.size > 1) record_turn(step_, {}, b_.epsilon_, {absorbed_heads()});
  }

  // What attention gave, latents, times the value matrix of each head; quantized.
  QuantizeTask::Destination multiply_values(const Activations& latents) const {
    const auto found = step_.scratch.attended.shaped(step_.rows, o_.heads * o_.value_dim);
    multiply_heads(w_.value, latents, found.values, found.stride, o_.value_dim);
    step_.launch(&GpuKernels::quantize, {.x = found.values, .x_stride = found.stride, .to = found});
    return found;
  }

  // Inputs of products of each head: row r, head h in row r × heads + h.
  QuantizeTask::Destination product_heads(std::uint32_t columns) const {
    return step_.scratch.heads.shaped(step_.rows * o_.heads, columns);
  }

  void multiply_heads(const HeadMatrices& matrices, const Activations& x, float* y,
                      std::uint64_t stride, std::uint32_t head_stride) const {
    const kernels::WeightMatrix& weights = *matrices.weights;
    step_.multiply(kernels::ProductTask{
        .format = weights.format,
        .rows = matrices.rows,
        .columns = weights.columns,
        .x = x,
        .dense = {step_.weights.of(weights) + matrices.first * weights.row_bytes()},
        .parts = o_.heads,
        .part_bytes = matrices.stride * weights.row_bytes(),
        .y = y,
        .y_stride = stride,
        .y_part_stride = head_stride});
  }

  AttentionShape shape() const {
    return {.heads = o_.heads,
            .kv_heads = 1,
            .key_dim = b_.cached_width(),
            .value_dim = o_.latent_dim,
            .scale = o_.scale,
            .values_in_keys = true};
  }

  const LatentAttentionBlock& b_;
  const LatentAttentionBlock::Options& o_;
  const LatentAttentionBlock::Weights& w_;
  DeviceStep& step_;
  // Projections of the first row.
  float* const first_;
  float* const queries_;
  float* const cached_;
  float* const absorbed_;
  const std::uint32_t stride_;
  const kernels::RotationLayout rotation_;
};

void LatentAttentionBlock::device_needs(DeviceNeeds& needs) const {
  ScratchShape::raise(needs.product_heads, o_.heads);
  ScratchShape::raise(needs.product_columns, std::max(o_.plain_dim, o_.latent_dim));
}

void LatentAttentionBlock::record(DeviceStep& step) const {
  RecordedLatentAttention(*this, step).run();
}

}  // namespace hearth::runtime
