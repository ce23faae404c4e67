// Mixtral (8x7B: 32 layers, 8x22B: 56), whose architecture in files is that of Llama: attention,
// then routed experts in every layer, softmax over all, weights renormalised.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_llama(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = b.dense_width();
  AttentionBlock::Options attention = b.attention_options();
  attention.pairs = RotaryPairs::kNeighbours;
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, true), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.add_attention(layer, attention, {});
    b.add_moe(layer, moe, b.moe_weights(layer, "ffn_norm.weight", width));
  }
}

}  // namespace hearth::runtime
