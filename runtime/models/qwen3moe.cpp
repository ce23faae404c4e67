// Qwen3-MoE (30B-A3B: 48 layers, 235B-A22B: 94): attention with per-head q/k norms, then routed
// experts in every layer, softmax over all experts, weights of the chosen ones renormalised.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_qwen3moe(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = metadata.has("expert_feed_forward_length")
                                  ? b.expert_width()
                                  : b.dense_width() / b.config().experts_used;
  b.require(width > 0, "experts have no hidden layer");
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, true), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.add_attention(layer, b.attention_options(), {.head_norms = HeadNorms::kPerHead});
    b.add_moe(layer, moe, b.moe_weights(layer, "ffn_norm.weight", width));
  }
}

}  // namespace hearth::runtime
