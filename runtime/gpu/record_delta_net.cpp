// DeltaNetBlock on a device.
#include "base/error.h"
#include "runtime/blocks/delta_net.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/gpu/device_step.h"

namespace hearth::runtime {

using kernels::DeltaInput;
using kernels::GpuKernels;

class RecordedDeltaNet {
 public:
  RecordedDeltaNet(const DeltaNetBlock& block, DeviceStep& step)
      : b_(block),
        shape_(block.shape_),
        w_(block.weights_),
        step_(step),
        row_(step.scratch.projected),
        mixed_(step.scratch.recurrent),
        decay_(mixed_ + std::size_t{step.rows} * shape_.channels()),
        strength_(decay_ + std::size_t{step.rows} * shape_.value_heads),
        out_(strength_ + std::size_t{step.rows} * shape_.value_heads) {}

  // Floats of a row: what convolution gives, gates, and what states give.
  static std::uint32_t floats(const kernels::DeltaNetShape& shape) {
    return shape.channels() + 2 * shape.value_heads + shape.values();
  }

  void run() const {
    project(step_.enter(b_.epsilon_, w_.norm, step_.ahead({w_.fused, w_.qkv, w_.z})));
    prepare();
    step_.launch(&GpuKernels::update_delta, {.shape = shape_,
                                             .rows = step_.rows,
                                             .mixed = mixed_,
                                             .decay = decay_,
                                             .strength = strength_,
                                             .state = step_.recurrent.state(b_.layer_),
                                             .out = out_});
    const auto to = step_.scratch.attended.shaped(step_.rows, shape_.values());
    step_.launch(&GpuKernels::finish_delta, {.shape = shape_,
                                             .x = out_,
                                             .z = z(),
                                             .norm = step_.weights.of(w_.head_norm),
                                             .epsilon = b_.epsilon_,
                                             .to = to,
                                             .ahead = step_.ahead({w_.output})});
    step_.multiply(kernels::QuantizeTask{.to = to}.result(), {{w_.output, step_.scratch.block_out}},
                   step_.embedding());
    step_.give_block_out();
  }

 private:
  void project(const kernels::Activations& x) const {
    step_.multiply(x,
                   {{w_.fused, row_ + b_.at_.fused},
                    {w_.qkv, row_},
                    {w_.z, row_ + b_.at_.z},
                    {w_.fused_gates, row_ + b_.at_.fused_gates},
                    {w_.alpha, row_ + b_.at_.decay},
                    {w_.beta, row_ + b_.at_.strength}},
                   b_.at_.width);
  }

  void prepare() const {
    const std::uint32_t keys = shape_.keys(), share = shape_.heads_per_key();
    const bool fused = w_.fused != nullptr, fused_gates = w_.fused_gates != nullptr;
    step_.launch(
        &GpuKernels::prepare_delta,
        {.shape = shape_,
         .rows = step_.rows,
         .query = fused ? of_fused(0) : input(0, shape_.key_dim),
         .key = fused ? of_fused(shape_.key_dim) : input(keys, shape_.key_dim),
         .value = fused ? of_fused(2 * shape_.key_dim) : input(2 * keys, share * shape_.value_dim),
         .alpha = fused_gates ? input(b_.at_.fused_gates + share, 2 * share)
                              : input(b_.at_.decay, share),
         .beta = fused_gates ? input(b_.at_.fused_gates, 2 * share) : input(b_.at_.strength, share),
         .convolution = reinterpret_cast<const float*>(step_.weights.of(*w_.convolution)),
         .window = step_.recurrent.window(b_.layer_),
         .bias = step_.weights.of(w_.bias),
         .rate = step_.weights.of(w_.rate),
         .epsilon = b_.epsilon_,
         .mixed = mixed_,
         .decay = decay_,
         .strength = strength_});
  }

  DeltaInput z() const {
    const std::uint32_t values = shape_.heads_per_key() * shape_.value_dim;
    return w_.fused != nullptr ? of_fused(2 * shape_.key_dim + values) : input(b_.at_.z, values);
  }
  DeltaInput input(std::uint32_t begin, std::uint32_t key_head_stride) const {
    return {.at = row_ + begin, .row_stride = b_.at_.width, .key_head_stride = key_head_stride};
  }
  // Per key head q | k | v | z of its value heads.
  DeltaInput of_fused(std::uint32_t begin) const {
    const std::uint32_t values = shape_.heads_per_key() * shape_.value_dim;
    return input(b_.at_.fused + begin, 2 * (shape_.key_dim + values));
  }

  const DeltaNetBlock& b_;
  const kernels::DeltaNetShape& shape_;
  const DeltaNetBlock::Weights& w_;
  DeviceStep& step_;
  float* const row_;  // projections of the first row
  float* const mixed_;
  float* const decay_;
  float* const strength_;
  float* const out_;
};

void DeltaNetBlock::device_needs(DeviceNeeds& needs) const {
  if (shape_.key_dim > kernels::kMostDeltaKeys)
    throw_error(
        ErrorCode::kUnsupported,
        "layer {}: a delta net with {} keys for each head is not computed on devices, whose "
        "most are {}; run without one",
        layer_, shape_.key_dim, kernels::kMostDeltaKeys);
  ScratchShape::raise(needs.recurrent_floats, RecordedDeltaNet::floats(shape_));
}

void DeltaNetBlock::record(DeviceStep& step) const { RecordedDeltaNet(*this, step).run(); }

}  // namespace hearth::runtime
