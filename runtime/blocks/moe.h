// A layer of routed experts: norm → route → fetch → compute as experts arrive → combine → residual.
#pragma once

#include <span>

#include "runtime/blocks/block.h"
#include "runtime/model_config.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

class MoeBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;
    const kernels::WeightMatrix* router;
    WeightVector gate_scale, up_scale, down_scale;  // per expert, optional
  };

  MoeBlock(LayerIndex layer, const ModelConfig& config, const Weights& weights);

  // The MoE layer that runs after this one: its router predicts what to prefetch.
  void set_next(const MoeBlock* next) { next_ = next; }

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void run(Step& step) const override;

 private:
  profiler::Routing route(Step& step) const;
  void group_by_expert(Step& step, const profiler::Routing& routing) const;
  void prefetch_next(Step& step) const;
  void compute_as_they_arrive(Step& step) const;
  std::uint32_t compute_ready(Step& step) const;
  void hidden_chunk(Step& step, const ExpertWork& work, std::uint32_t chunk,
                    std::uint32_t worker) const;
  void down_chunk(Step& step, const ExpertWork& work, std::uint32_t chunk) const;
  void combine(Step& step, const profiler::Routing& routing) const;

  LayerIndex layer_;
  std::uint32_t embedding_, experts_, experts_used_, expert_ff_;
  float epsilon_;
  Weights weights_;
  const MoeBlock* next_ = nullptr;
};

}  // namespace hearth::runtime
