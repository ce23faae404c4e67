// Gated delta net (kernels/delta_net.h): norm → q|k|v, z, gates → convolution → state → norm of
// each head, gated by z → output → residual.
#pragma once

#include "kernels/delta_net.h"
#include "runtime/blocks/block.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

using kernels::DeltaNetShape;

class DeltaNetBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;
    // Either qkv and z, or both in `fused`: per key head q | k | v | z of its value heads.
    const kernels::WeightMatrix* qkv = nullptr;
    const kernels::WeightMatrix* z = nullptr;
    const kernels::WeightMatrix* fused = nullptr;
    // Either alpha and beta, or both in `fused_gates`: per key head beta | alpha of its value
    // heads.
    const kernels::WeightMatrix* alpha = nullptr;
    const kernels::WeightMatrix* beta = nullptr;
    const kernels::WeightMatrix* fused_gates = nullptr;
    const kernels::WeightMatrix* convolution = nullptr;  // F32 [channels][taps]
    WeightVector bias, rate;                             // of the decay, per value head
    WeightVector head_norm;                              // [value_dim]
    const kernels::WeightMatrix* output = nullptr;       // [embedding][values]
  };

  DeltaNetBlock(LayerIndex layer, const DeltaNetShape& shape, float epsilon,
                const Weights& weights);

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void recurrent_needs(RecurrentLayer& recurrent) const override;
  void run(Step& step) const override;

 private:
  // What lies where in the projections of a row. The last two are only there where something fused
  // is to be taken apart.
  struct RowLayout {
    std::uint32_t z, decay, strength, fused_gates, fused, width;
  };
  float* row_of(const Step& step, std::uint32_t row) const {
    return step.scratch.projected.data() + std::size_t{row} * at_.width;
  }

  void project_inputs(const Step& step) const;
  void take_apart(const Step& step, std::uint32_t row) const;
  void convolve(const Step& step) const;
  void prepare_row(const Step& step, std::uint32_t row) const;
  void update_states(const Step& step) const;
  void finish_row(const Step& step, std::uint32_t row) const;

  LayerIndex layer_;
  DeltaNetShape shape_;
  float epsilon_;
  Weights weights_;
  RowLayout at_;
};

}  // namespace hearth::runtime
