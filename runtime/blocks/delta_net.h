// Gated delta net (kernels/delta_net.h): norm → q|k|v, z, gates → convolution → state → norm of
// each head, gated by z → output → residual.
#pragma once

#include "runtime/blocks/block.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

struct DeltaNetShape {
  // Which key head a value head reads: neighbours share one (grouped), or those that are key_heads
  // apart (tiled).
  enum class Heads { kTiled, kGrouped };

  std::uint32_t key_heads = 0;
  std::uint32_t value_heads = 0;  // a multiple of key_heads
  std::uint32_t key_dim = 0;      // per head, a multiple of 16; so is value_dim
  std::uint32_t value_dim = 0;
  std::uint32_t taps = 0;  // of the convolution
  Heads heads = Heads::kTiled;

  std::uint32_t keys() const { return key_heads * key_dim; }
  std::uint32_t values() const { return value_heads * value_dim; }
  std::uint32_t channels() const { return 2 * keys() + values(); }
  std::uint32_t heads_per_key() const { return value_heads / key_heads; }
  std::uint32_t key_head_of(std::uint32_t value_head) const {
    return heads == Heads::kTiled ? value_head % key_heads : value_head / heads_per_key();
  }
};

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
