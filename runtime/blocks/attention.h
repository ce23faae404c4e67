// Grouped-query attention: norm → q, k, v → head norms → rotary → Hadamard where the cache is
// quantized → cache → attend → gate → output → residual.
#pragma once

#include <optional>

#include "runtime/blocks/block.h"
#include "runtime/blocks/cached_attention.h"
#include "runtime/model_config.h"
#include "runtime/rotary.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

// Which channels of a head are turned together: (i, i + half), or neighbours (2i, 2i + 1).
enum class RotaryPairs : std::uint8_t { kHalves, kNeighbours };

// Queries of far positions are stretched (Llama 4): those at `position` by
// 1 + slope × ln(1 + floor((position + 1) / every)).
struct QueryStretch {
  std::uint32_t every = 0;  // 0: none
  float slope = 0;

  float factor(std::uint32_t position) const;
  bool operator==(const QueryStretch&) const = default;
};

class AttentionBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;
    const kernels::WeightMatrix* query = nullptr;
    const kernels::WeightMatrix* key = nullptr;    // null: the layer reads the cache of another
    const kernels::WeightMatrix* value = nullptr;  // null: values are the keys before their norm
    const kernels::WeightMatrix* output = nullptr;
    WeightVector query_bias, key_bias, value_bias, output_bias;  // optional
    // Before rotation, per head [key_dim] or over all heads together; optional.
    WeightVector query_norm, key_norm;
    WeightVector output_norm;  // of what is added to the residual stream; optional
  };

  struct Options {
    AttentionShape shape;
    RotaryPlace rotary;
    RotaryPairs pairs = RotaryPairs::kHalves;
    // The query matrix gives q | gate for each head, and sigmoid(gate) weighs what the head found.
    bool gated = false;
    bool values_normed = false;   // values of each head by their root mean square
    bool rotated_normed = false;  // queries and keys of each head likewise, once they are rotated
    QueryStretch stretch;
    std::optional<LayerIndex> cache;  // the layer whose keys and values are read; none: this one
  };

  AttentionBlock(LayerIndex layer, const ModelConfig& config, const Options& options,
                 const Weights& weights);

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void run(Step& step) const override;

 private:
  // Where the projections of a row lie, one after the other. A layer that reads the cache of
  // another has queries alone.
  bool has_keys() const { return weights_.key != nullptr; }
  std::uint32_t query_width() const { return shape_.heads * shape_.key_dim; }
  std::uint32_t key_width() const { return has_keys() ? shape_.kv_heads * shape_.key_dim : 0; }
  std::uint32_t value_width() const { return has_keys() ? shape_.kv_heads * shape_.value_dim : 0; }
  // Queries as they are projected with their gates; then the gates alone.
  std::uint32_t gated_width() const { return options_.gated ? 2 * query_width() : 0; }
  std::uint32_t gates_begin() const { return query_width() + key_width() + value_width(); }
  std::uint32_t projected_width() const { return gates_begin() + gated_width(); }

  void prepare_row(Step& step, std::uint32_t row) const;
  void prepare_heads(const Step& step, std::uint32_t row, const WeightVector& norm,
                     std::uint32_t width, float* heads) const;
  void norm_each(const kernels::CpuKernels& kernels, const float* weight, std::uint32_t width,
                 std::uint32_t size, float* values) const;
  void take_gates_apart(float* row) const;
  void finish_heads(const Step& step) const;
  void finish_output(const Step& step) const;
  void fill_cache(Step& step) const;
  void store_tile(Step& step, std::uint32_t tile) const;
  void encode_due(Step& step) const;

  LayerIndex layer_;
  AttentionShape shape_;
  Options options_;
  float epsilon_;
  Weights weights_;
};

}  // namespace hearth::runtime
