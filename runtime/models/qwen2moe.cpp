// Qwen2-MoE (Qwen1.5-MoE-A2.7B: 24 layers, Qwen2-57B-A14B: 28): attention with biases, then routed
// experts in every layer, softmax over all, weights as they are, and a gated shared expert.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_qwen2moe(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = metadata.has("expert_feed_forward_length")
                                  ? b.expert_width()
                                  : b.dense_width() / b.config().experts_used;
  b.require(width > 0, "experts have no hidden layer");
  const std::uint32_t shared_width =
      metadata.has("expert_shared_feed_forward_length")
          ? metadata.required_count("expert_shared_feed_forward_length", {1, 1 << 20})
          : b.dense_width();
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, false), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.require_tensors(layer, {"attn_q.bias", "attn_k.bias", "attn_v.bias"});
    b.add_attention(layer, b.attention_options(), {});
    MoeBlock::Weights weights = b.moe_weights(layer, "ffn_norm.weight", width);
    weights.shared = b.ffn_weights(layer, "_shexp", shared_width);
    weights.shared_gate = b.norm(layer, "ffn_gate_inp_shexp.weight");
    b.add_moe(layer, moe, weights);
  }
}

}  // namespace hearth::runtime
