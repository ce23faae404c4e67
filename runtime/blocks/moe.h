// A layer of routed experts, and perhaps one that all tokens share: norm → route → fetch → shared
// expert → experts as they arrive → combine → residual.
#pragma once

#include <span>

#include "runtime/blocks/block.h"
#include "runtime/blocks/expert_ffn.h"
#include "runtime/blocks/ffn.h"
#include "runtime/blocks/router.h"
#include "runtime/model_config.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

class MoeBlock final : public Block {
 public:
  struct Weights {
    WeightVector norm;  // of what the router gets, and with it all others that have no norm
    RouterWeights router;
    WeightVector gate_scale, up_scale, down_scale;  // per expert, optional
    WeightVector gate_bias, up_bias, down_bias;     // [experts][width], optional
    FfnWeights shared;                              // optional
    // [embedding]: sigmoid(shared_gate · x) weighs it, for the x of the router; optional
    WeightVector shared_gate;
    // Where parts have norms of their own: of their inputs, of what they add, and of the sum.
    WeightVector shared_norm, expert_norm;
    WeightVector shared_output_norm, expert_output_norm, output_norm;
  };

  struct Options {
    RouterSpec router;
    std::uint32_t expert_ff = 0;
    Activation activation = Activation::kSilu;
    bool weighs_inputs = false;  // what an expert gets is weighed, not what it gives
  };

  MoeBlock(LayerIndex layer, const ModelConfig& config, const Options& options,
           const Weights& weights);

  // The MoE layer that runs after this one: its router predicts what to prefetch.
  void set_next(const MoeBlock* next) { next_ = next; }

  void state_needs(ScratchShape& scratch, KvLayer& kv) const override;
  void run(Step& step) const override;
  void device_needs(DeviceNeeds& needs) const override;
  void record(DeviceStep& step) const override;

 private:
  friend class RecordedMoe;  // on a device

  void enter(const Step& step, const WeightVector& norm) const;
  profiler::Routing route(Step& step) const;
  void group_by_expert(Step& step, const profiler::Routing& routing) const;
  void prefetch_next(Step& step) const;
  void run_shared(Step& step) const;
  void compute_as_they_arrive(Step& step) const;
  std::uint32_t compute_ready(Step& step) const;
  void combine(Step& step, const profiler::Routing& routing) const;

  LayerIndex layer_;
  std::uint32_t embedding_, experts_, experts_used_, expert_ff_;
  float epsilon_;
  Options options_;
  Router router_;
  Weights weights_;
  ExpertFfn expert_ffn_;
  const MoeBlock* next_ = nullptr;
};

}  // namespace hearth::runtime
