// AttentionBlock on a device.
#include <algorithm>

#include "base/check.h"
#include "runtime/blocks/attention.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/gpu/device_step.h"
#include "runtime/gpu/record_cache.h"

namespace hearth::runtime {

using kernels::Activations;
using kernels::GpuKernels;
using kernels::HeadGroup;
using kernels::KvPart;

class RecordedAttention {
 public:
  RecordedAttention(const AttentionBlock& block, DeviceStep& step)
      : b_(block),
        shape_(block.shape_),
        options_(block.options_),
        weights_(block.weights_),
        step_(step),
        query_(step.scratch.projected),
        key_(query_ + block.query_width()),
        value_(key_ + block.key_width()),
        gates_(query_ + block.gates_begin()),
        stride_(block.projected_width()),
        found_(step.scratch.attended.shaped(step.rows, shape_.heads * shape_.value_dim)) {}

  void run() const {
    project(step_.enter(b_.epsilon_, weights_.norm,
                        step_.ahead({weights_.query, weights_.key, weights_.value})));
    prepare_heads();
    if (b_.has_keys()) record_encode(step_, b_.layer_, shape_.kv_heads);
    record_attend(step_, options_.cache.value_or(b_.layer_), shape_, {query_, stride_}, results(),
                  step_.ahead({weights_.output}));
    step_.multiply(kernels::QuantizeTask{.to = found_}.result(),
                   {{weights_.output, step_.scratch.block_out, weights_.output_bias}},
                   step_.embedding());
    step_.give_block_out(weights_.output_norm);
  }

 private:
  void project(const Activations& x) const {
    step_.multiply(x,
                   {{weights_.query, options_.gated ? gates_ : query_, weights_.query_bias},
                    {weights_.key, key_, weights_.key_bias},
                    {weights_.value, value_, weights_.value_bias}},
                   stride_);
  }

  // Norms, rotary, factors and rotations; keys and values to the cache. Values that are keys are
  // taken before a norm over all heads changes these.
  void prepare_heads() const {
    const bool values_first = weights_.value == nullptr && is_whole(weights_.key_norm);
    if (values_first) turn({values()});
    norm_whole(weights_.query_norm, b_.query_width(), query_);
    norm_whole(weights_.key_norm, b_.key_width(), key_);
    turn({queries(), keys(), values_first ? HeadGroup{} : values()});
  }

  // A norm over all heads of a row together.
  void norm_whole(const WeightVector& norm, std::uint32_t width, float* x) const {
    if (!is_whole(norm) || width == 0) return;
    CHECK_EQ(norm.matrix->columns, width);
    step_.launch(
        &GpuKernels::normalize,
        {.rows = step_.rows,
         .columns = width,
         .x = x,
         .x_stride = stride_,
         .epsilon = b_.epsilon_,
         .outputs = {
             {.weight = step_.weights.of(norm),
              .to = {.rows = step_.rows, .columns = width, .stride = stride_, .values = x}}}});
  }
  bool of_head(const WeightVector& norm) const {
    return norm.present() && norm.matrix->columns == shape_.key_dim;
  }
  bool is_whole(const WeightVector& norm) const { return norm.present() && !of_head(norm); }

  void turn(std::initializer_list<HeadGroup> groups) const {
    record_turn(step_, options_.rotary, b_.epsilon_, groups);
  }

  // What queries and keys have in common.
  HeadGroup turned(std::uint32_t heads, const float* from, const WeightVector& norm) const {
    return {.heads = heads,
            .dim = shape_.key_dim,
            .from = from,
            .from_stride = stride_,
            .from_head_stride = shape_.key_dim,
            .normed = of_head(norm) ? shape_.key_dim : 0,
            .weight = of_head(norm) ? step_.weights.of(norm) : nullptr,
            .half = options_.rotary.half,
            .neighbours = options_.pairs == RotaryPairs::kNeighbours,
            .normed_when_turned = options_.rotated_normed && options_.rotary.half > 0,
            .rotation = rotation(KvPart::kKeys, shape_.key_dim)};
  }
  kernels::RotationLayout rotation(KvPart part, std::uint32_t dim) const {
    return kernels::rotation_layout(step_.kv.formats().rotation(part, dim));
  }

  // Gated queries lie between their gates, and are taken from there.
  HeadGroup queries() const {
    HeadGroup heads = turned(shape_.heads, options_.gated ? gates_ : query_, weights_.query_norm);
    if (options_.gated) heads.from_head_stride = 2 * shape_.key_dim;
    heads.x = query_;
    heads.stride = stride_;
    heads.head_stride = shape_.key_dim;
    if (options_.stretch.every > 0) heads.factors = step_.inputs.factors(options_.stretch);
    return heads;
  }
  HeadGroup keys() const {
    if (!b_.has_keys()) return {};
    HeadGroup heads = turned(shape_.kv_heads, key_, weights_.key_norm);
    heads.to = step_.kv.memory(b_.layer_, KvPart::kKeys);
    return heads;
  }
  HeadGroup values() const {
    if (!b_.has_keys()) return {};
    return {.heads = shape_.kv_heads,
            .dim = shape_.value_dim,
            .from = weights_.value == nullptr ? key_ : value_,
            .from_stride = stride_,
            .from_head_stride = shape_.value_dim,
            .normed = options_.values_normed ? shape_.value_dim : 0,
            .rotation = rotation(KvPart::kValues, shape_.value_dim),
            .to = step_.kv.memory(b_.layer_, KvPart::kValues)};
  }

  // What the heads find, by their gates, which lie behind their queries as these were projected.
  kernels::HeadResults results() const {
    kernels::HeadResults results{.to = found_};
    if (!options_.gated) return results;
    results.gates = gates_ + shape_.key_dim;
    results.gate_stride = stride_;
    results.gate_head_stride = 2 * shape_.key_dim;
    return results;
  }

  const AttentionBlock& b_;
  const AttentionShape& shape_;
  const AttentionBlock::Options& options_;
  const AttentionBlock::Weights& weights_;
  DeviceStep& step_;
  // Projections of the first row.
  float* const query_;
  float* const key_;
  float* const value_;
  float* const gates_;
  const std::uint32_t stride_;
  const kernels::QuantizeTask::Destination found_;
};

void AttentionBlock::device_needs(DeviceNeeds& needs) const {
  if (options_.stretch.every > 0 &&
      std::ranges::find(needs.stretches, options_.stretch) == needs.stretches.end())
    needs.stretches.push_back(options_.stretch);
}

void AttentionBlock::record(DeviceStep& step) const { RecordedAttention(*this, step).run(); }

}  // namespace hearth::runtime
