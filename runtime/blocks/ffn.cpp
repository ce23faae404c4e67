#include "runtime/blocks/ffn.h"

#include "runtime/blocks/linear.h"

namespace hearth::runtime {

kernels::CpuKernels::GatedFn gated(const kernels::CpuKernels& kernels, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return kernels.gelu_multiply;
    case Activation::kClamped:
      return kernels.clamped_multiply;
    case Activation::kSilu:
      break;
  }
  return kernels.silu_multiply;
}

void ffn_needs(const FfnWeights& weights, ScratchShape& scratch) {
  ScratchShape::raise(scratch.projections, 2 * weights.width());
  ScratchShape::raise(scratch.attention_width, weights.width());
}

void run_ffn(const Step& step, const FfnWeights& weights, Activation activation) {
  const std::uint32_t width = weights.width();
  float* const gate = step.scratch.projected.data();
  project(step, step.scratch.normed.view(), {{weights.gate, gate}, {weights.up, gate + width}},
          2 * width);
  kernels::ActivationBuffer& hidden = step.scratch.attended;
  hidden.set_shape(step.rows(), width);
  const auto multiply = gated(step.kernels, activation);
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
    const float* const own = gate + std::size_t{row} * 2 * width;
    multiply(own, own + width, width, hidden.values(row));
    step.kernels.quantize(hidden.values(row), width, hidden.codes(row), hidden.scales(row),
                          hidden.sums(row));
  });
  project(step, hidden.view(), {{weights.down, step.scratch.block_out.data()}},
          step.scratch.shape.embedding);
}

void FfnBlock::state_needs(ScratchShape& scratch, KvLayer&) const {
  ffn_needs(weights_.ffn, scratch);
}

void FfnBlock::run(Step& step) const {
  const Nanoseconds start = step.clock.now();
  normalize(step, weights_.norm.data(), epsilon_, {0, step.rows()});
  run_ffn(step, weights_.ffn, activation_);
  add_block_out(step);
  step.times.ffn += step.clock.now() - start;
}

}  // namespace hearth::runtime
