// Llama 4 (Scout 109B-A17B, Maverick 400B-A17B: 48 layers): three layers of four turn queries and
// keys and attend within chunks of the context, the fourth attends to all of it unturned; a dense
// network, or one expert of many with a shared one, whose input is weighed by a sigmoid.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {
namespace {

// Files do not say these.
constexpr std::uint32_t kChunk = 8192;
constexpr std::uint32_t kUnturnedEvery = 4;
constexpr QueryStretch kStretch{.every = 8192, .slope = 0.1f};
constexpr std::uint32_t kExpertsOfMaverick = 128;  // which has no norm of turned heads

}  // namespace

void build_llama4(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = b.expert_width(), dense_width = b.dense_width();
  const std::uint32_t step = metadata.required_count("interleave_moe_layer_step", {1, 1024});
  // Without a window all layers are turned and attend to everything.
  const bool chunked = metadata.count_or("attention.sliding_window", {0, 1 << 30}, kChunk) > 0;

  AttentionBlock::Options turned = b.attention_options();
  turned.pairs = RotaryPairs::kNeighbours;
  turned.rotated_normed = b.config().experts != kExpertsOfMaverick;
  if (chunked) turned.shape.window = {.positions = kChunk, .chunked = true};
  AttentionBlock::Options unturned = b.attention_options();
  unturned.rotary = {};
  unturned.stretch = kStretch;

  MoeBlock::Options moe{
      .router = b.router_spec(Gating::kSigmoid, false), .expert_ff = width, .weighs_inputs = true};
  moe.router.gating = Gating::kSigmoidOfChosen;  // experts are chosen by their logits
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    const bool is_unturned = chunked && (layer + 1) % kUnturnedEvery == 0;
    b.add_attention(layer, is_unturned ? unturned : turned, {});
    if ((layer + 1) % step != 0) {
      b.add_ffn(layer, dense_width);
      continue;
    }
    MoeBlock::Weights weights = b.moe_weights(layer, "ffn_norm.weight", width);
    weights.shared = b.ffn_weights(layer, "_shexp", width);
    b.add_moe(layer, moe, weights);
  }
}

}  // namespace hearth::runtime
