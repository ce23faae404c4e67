// A feed-forward network that every token passes: that of a dense layer, or the expert that all
// tokens of a MoE layer share.
#pragma once

#include "runtime/blocks/block.h"
#include "runtime/model_config.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

// Of the gate, by which the other half is multiplied (kernels/cpu_kernels.h).
enum class Activation : std::uint8_t { kSilu, kGelu, kClamped };
kernels::CpuKernels::GatedFn gated(const kernels::CpuKernels& kernels, Activation activation);

struct FfnWeights {
  const kernels::WeightMatrix* gate = nullptr;  // [width][embedding]
  const kernels::WeightMatrix* up = nullptr;
  const kernels::WeightMatrix* down = nullptr;  // [embedding][width]

  bool present() const { return gate != nullptr; }
  std::uint32_t width() const { return gate->rows; }
};

// step.block_out = down · (activation(gate · x) × (up · x)) of all rows x of step.scratch.normed.
// The hidden values lie where attention has its projections and its result.
void run_ffn(const Step& step, const FfnWeights& weights, Activation activation);
void ffn_needs(const FfnWeights& weights, ScratchShape& scratch);

// A dense layer: norm → network → residual.
class FfnBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;
    FfnWeights ffn;
  };
  FfnBlock(const ModelConfig& config, const Weights& weights, Activation activation)
      : epsilon_(config.rms_epsilon), weights_(weights), activation_(activation) {}

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void run(Step& step) const override;
  void record(DeviceStep& step) const override;

 private:
  float epsilon_;
  Weights weights_;
  Activation activation_;
};

}  // namespace hearth::runtime
