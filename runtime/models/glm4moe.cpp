// GLM-4.5 and later (Air 106B-A12B: 46 layers, 355B-A32B: 92): attention with biases, q/k norms in
// the large one and a rotary of half a head; a dense network in the first layers, then routed
// experts with a shared one, sigmoid, a bias for the choice alone.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_glm4moe(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  constexpr std::string_view kNorm = "post_attention_norm.weight";
  const std::uint32_t width = b.expert_width(), dense_width = b.dense_width();
  const std::uint32_t shared = metadata.required_count("expert_shared_count", {1, 64});
  const std::uint32_t dense_layers =
      metadata.required_count("leading_dense_block_count", {0, 1024});
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSigmoid, false), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.require_tensors(layer, {"attn_q.bias", "attn_k.bias", "attn_v.bias"});
    const bool normed = b.has(layer, "attn_q_norm.weight");
    b.add_attention(layer, b.attention_options(),
                    {.head_norms = normed ? HeadNorms::kPerHead : HeadNorms::kNone});
    if (layer < dense_layers) {
      b.add_ffn(layer, dense_width, kNorm);
      continue;
    }
    b.require_tensors(layer, {"exp_probs_b.bias"});
    MoeBlock::Weights weights = b.moe_weights(layer, kNorm, width);
    weights.shared = b.ffn_weights(layer, "_shexp", width * shared);
    b.add_moe(layer, moe, weights);
  }
}

}  // namespace hearth::runtime
