// OLMoE (1B-7B: 16 layers, 64 experts): q/k norms over whole projections, then routed experts in
// every layer, softmax over all, weights as they are.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_olmoe(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = b.dense_width();
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, false), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.add_attention(layer, b.attention_options(), {.head_norms = HeadNorms::kWholeProjection});
    b.add_moe(layer, moe, b.moe_weights(layer, "ffn_norm.weight", width));
  }
}

}  // namespace hearth::runtime
