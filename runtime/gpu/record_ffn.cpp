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

void add_ffn(const DeviceStep& step, const FfnWeights& weights, Activation activation,
             const kernels::Activations& x, float* out, FfnProducts& to) {
  const std::uint32_t width = weights.width();
  const auto hidden = step.scratch.attended.shaped(step.rows, width);
  if (weights.gate->format == weights.up->format) {
    add({.format = weights.gate->format,
         .rows = width,
         .columns = x.columns,
         .x = x,
         .matrices = 2,
         .dense = {step.weights.of(*weights.gate), step.weights.of(*weights.up)},
         .activation = gated(activation),
         .hidden = hidden},
        to.hidden);
  } else {
    float* const gate = step.scratch.projected;
    float* const up = gate + width;
    add(step.task_of(x, {weights.gate, gate}, 2 * width), to.hidden);
    add(step.task_of(x, {weights.up, up}, 2 * width), to.hidden);
    to.gates[to.gate_count++] = {.activation = gated(activation),
                                 .gate = {.x = gate, .stride = 2 * width},
                                 .up = {.x = up, .stride = 2 * width},
                                 .to = hidden};
  }
  add(step.task_of(kernels::QuantizeTask{.to = hidden}.result(), {weights.down, out},
                   step.embedding()),
      to.down);
}

void record(const DeviceStep& step, const FfnProducts& products) {
  step.multiply(products.hidden);
  for (const kernels::GateTask& gate : std::span(products.gates).first(products.gate_count))
    step.launch(&GpuKernels::gate, gate);
  step.multiply(products.down);
}

void FfnBlock::record(DeviceStep& step) const {
  FfnProducts products;
  const FfnWeights& ffn = weights_.ffn;
  const kernels::Activations x =
      step.enter(epsilon_, weights_.norm, step.ahead({ffn.gate, ffn.up}));
  add_ffn(step, ffn, activation_, x, step.scratch.block_out, products);
  runtime::record(step, products);
  step.give_block_out();
}

}  // namespace hearth::runtime
