// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434).
//
// Keys and values of all heads are products of one latent of each position, and the cache keeps
// nothing but that latent and a rotated part that all heads share. The products are absorbed by the
// other side: a query is multiplied with the key matrix of its head once, attends to latents as if
// they were the keys and values of one KV head, and what comes out is multiplied with the value
// matrix of its head.
//
//   norm → queries (over a lower rank, or direct) and latent → norm of the latent, rotary
//   → cache → queries into the space of latents → attend → values of heads → output → residual
#pragma once

#include "runtime/blocks/block.h"
#include "runtime/blocks/cached_attention.h"
#include "runtime/model_config.h"
#include "runtime/rotary.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

// One matrix for each head, in one: that of head h has `rows` rows from first + h × stride on.
struct HeadMatrices {
  const kernels::WeightMatrix* weights = nullptr;
  std::uint32_t rows = 0;
  std::uint32_t stride = 0;
  std::uint32_t first = 0;

  kernels::RowRange of(std::uint32_t head) const {
    return {first + head * stride, first + head * stride + rows};
  }
};

class LatentAttentionBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;
    const kernels::WeightMatrix* query_a = nullptr;  // [query_rank][embedding]; null: query is
    WeightVector query_a_norm;                       // the product of the embedding itself
    const kernels::WeightMatrix* query = nullptr;    // [heads × (plain_dim + rotated_dim)][...]
    const kernels::WeightMatrix* latent = nullptr;   // [latent_dim + rotated_dim][embedding]
    WeightVector latent_norm;                        // [latent_dim]
    HeadMatrices key;                                // [latent_dim][plain_dim] each
    HeadMatrices value;                              // [value_dim][latent_dim] each
    const kernels::WeightMatrix* output = nullptr;   // [embedding][heads × value_dim]
  };

  struct Options {
    std::uint32_t heads = 0;
    std::uint32_t query_rank = 0;  // 0: there is no query_a
    std::uint32_t latent_dim = 0;
    std::uint32_t plain_dim = 0;    // channels of a query that are not rotated, the first ones
    std::uint32_t rotated_dim = 0;  // the rest, and as many of the cached row after its latent
    std::uint32_t value_dim = 0;
    float scale = 0;  // of the scores
    RotaryPlace rotary;
  };

  LatentAttentionBlock(LayerIndex layer, const ModelConfig& config, const Options& options,
                       const Weights& weights)
      : layer_(layer), epsilon_(config.rms_epsilon), o_(options), weights_(weights) {}

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void run(Step& step) const override;
  void device_needs(DeviceNeeds& needs) const override;
  void record(DeviceStep& step) const override;

 private:
  friend class RecordedLatentAttention;  // on a device

  // Where the projections of a row lie, one after the other: the query of lower rank, the heads'
  // queries, the cached row, and the queries in the space of cached rows. The latter become the
  // result of attention.
  std::uint32_t query_width() const { return o_.plain_dim + o_.rotated_dim; }
  std::uint32_t cached_width() const { return o_.latent_dim + o_.rotated_dim; }
  std::uint32_t cached_begin() const { return o_.query_rank + o_.heads * query_width(); }
  std::uint32_t absorbed_begin() const { return cached_begin() + cached_width(); }
  std::uint32_t projected_width() const { return absorbed_begin() + o_.heads * cached_width(); }
  float* projected(const Step& step, std::uint32_t row) const {
    return step.scratch.projected.data() + std::size_t{row} * projected_width();
  }
  float* absorbed(const Step& step, std::uint32_t row, std::uint32_t head) const {
    return projected(step, row) + absorbed_begin() + std::size_t{head} * cached_width();
  }
  kernels::KvRotation rotation(const Step& step) const;

  void project_queries_and_latents(const Step& step) const;
  void prepare_row(const Step& step, std::uint32_t row) const;
  void fill_cache(const Step& step) const;
  void absorb_keys(const Step& step) const;
  void multiply_values(const Step& step) const;

  LayerIndex layer_;
  float epsilon_;
  Options o_;
  Weights weights_;
};

}  // namespace hearth::runtime
