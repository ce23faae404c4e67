// An architecture as a newcomer would write it: the blocks of Qwen3-MoE, with a router of sigmoids.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_made_up(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSigmoid, true),
                              .expert_ff = b.expert_width()};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.add_attention(layer, b.attention_options(), {.head_norms = HeadNorms::kPerHead});
    b.add_moe(layer, moe, b.moe_weights(layer, "ffn_norm.weight", b.expert_width()));
  }
}

}  // namespace hearth::runtime
