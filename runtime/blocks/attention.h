// Grouped-query attention: norm → q, k, v → head norms → rotary → Hadamard where the cache is
// quantized → cache → attend → output → residual.
#pragma once

#include "runtime/blocks/block.h"
#include "runtime/blocks/cached_attention.h"
#include "runtime/model_config.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

class AttentionBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;
    const kernels::WeightMatrix* query;
    const kernels::WeightMatrix* key;
    const kernels::WeightMatrix* value;
    const kernels::WeightMatrix* output;
    WeightVector query_bias, key_bias, value_bias;  // optional
    WeightVector query_norm, key_norm;              // per head, before rotation; optional
  };

  AttentionBlock(LayerIndex layer, const ModelConfig& config, const Weights& weights);

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void run(Step& step) const override;

 private:
  // Where the projections of a row lie, one after the other.
  std::uint32_t query_width() const { return shape_.heads * shape_.key_dim; }
  std::uint32_t key_width() const { return shape_.kv_heads * shape_.key_dim; }
  std::uint32_t value_width() const { return shape_.kv_heads * shape_.value_dim; }
  std::uint32_t projected_width() const { return query_width() + key_width() + value_width(); }

  void prepare_row(Step& step, std::uint32_t row) const;
  void store_tile(Step& step, std::uint32_t tile) const;
  void encode_due(Step& step) const;

  LayerIndex layer_;
  AttentionShape shape_;
  std::uint32_t rope_dims_;
  float epsilon_;
  Weights weights_;
};

}  // namespace hearth::runtime
