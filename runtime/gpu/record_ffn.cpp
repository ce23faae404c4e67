#include "runtime/gpu/record_ffn.h"

namespace hearth::runtime {

using kernels::GatedActivation;
using kernels::GpuKernels;

GatedActivation gated(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return GatedActivation::kGelu;
    case Activation::kClamped:
      return GatedActivation::kClamped;
    case Activation::kSilu:
      break;
  }
  return GatedActivation::kSilu;
}

// Gate and up are one launch where they have one format.
void record_ffn(const DeviceStep& step, const FfnWeights& weights, Activation activation,
                const kernels::Activations& x, float* out) {
  const std::uint32_t width = weights.width();
  const auto hidden = step.scratch.attended.shaped(step.rows, width);
  if (weights.gate->format == weights.up->format) {
    step.multiply({.format = weights.gate->format,
                   .rows = width,
                   .columns = x.columns,
                   .x = x,
                   .matrices = 2,
                   .dense = {step.weights.of(*weights.gate), step.weights.of(*weights.up)},
                   .activation = gated(activation),
                   .hidden = hidden});
  } else {
    float* const gate = step.scratch.projected;
    step.multiply(*weights.gate, x, gate, 2 * width);
    step.multiply(*weights.up, x, gate + width, 2 * width);
    step.launch(&GpuKernels::gate, {.activation = gated(activation),
                                    .gate = {.x = gate, .stride = 2 * width},
                                    .up = {.x = gate + width, .stride = 2 * width},
                                    .to = hidden});
  }
  step.multiply(*weights.down, kernels::QuantizeTask{.to = hidden}.result(), out, step.embedding());
}

void FfnBlock::record(DeviceStep& step) const {
  record_ffn(step, weights_.ffn, activation_, step.enter(epsilon_, weights_.norm),
             step.scratch.block_out);
  step.give_block_out();
}

}  // namespace hearth::runtime
