// ERNIE 4.5 (21B-A3B: 28 layers, 300B-A47B: 54): attention, then a dense network in the first
// layers and routed experts with a shared one in the others, softmax over all, weights
// renormalised, a bias for the choice alone.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_ernie4_5_moe(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = b.expert_width(), dense_width = b.dense_width();
  const std::uint32_t shared_width =
      metadata.count_or("expert_shared_feed_forward_length", {0, 1 << 20}, 0);
  const std::uint32_t dense_layers = metadata.count_or("leading_dense_block_count", {0, 1024}, 0);
  const std::uint32_t step = metadata.required_count("interleave_moe_layer_step", {1, 1024});
  AttentionBlock::Options attention = b.attention_options();
  attention.pairs = RotaryPairs::kNeighbours;
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, true), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.add_attention(layer, attention, {});
    if (layer < dense_layers || (layer + 1) % step != 0) {
      b.add_ffn(layer, dense_width);
      continue;
    }
    MoeBlock::Weights weights = b.moe_weights(layer, "ffn_norm.weight", width);
    if (shared_width > 0) weights.shared = b.ffn_weights(layer, "_shexp", shared_width);
    b.add_moe(layer, moe, weights);
  }
}

}  // namespace hearth::runtime
