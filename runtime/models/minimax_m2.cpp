// MiniMax-M2 (230B-A10B: 62 layers): q/k norms over whole projections, a rotary of half a head,
// then routed experts in every layer, sigmoid, weights renormalised, a bias for the choice alone.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_minimax_m2(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = b.dense_width();  // of experts: there is nothing dense
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSigmoid, true), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.add_attention(layer, b.attention_options(), {.head_norms = HeadNorms::kWholeProjection});
    b.require_tensors(layer, {"exp_probs_b.bias"});
    b.add_moe(layer, moe, b.moe_weights(layer, "ffn_norm.weight", width));
  }
}

}  // namespace hearth::runtime
