// Gemma 4 (26B-A4B: 30 layers): layers with a window and layers without have heads of their own
// sizes; the latter may use keys as values. A dense network and routed experts side by side, each
// between norms of its own, GELU; the router has a norm of its own, too. Embeddings and logits are
// scaled.
#include <cmath>

#include "base/error.h"
#include "runtime/blocks/residual_scale.h"
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {
namespace {

// What layers of one kind have in common.
struct LayerKind {
  AttentionShape shape;
  RotaryPlace rotary;
};

LayerKind read_kind(ModelBuilder& b, bool windowed) {
  const MetadataReader& metadata = b.metadata();
  const std::string suffix = windowed ? "_swa" : "";
  const auto count = [&](const char* key) {
    return metadata.required_count(key + suffix, {2, kernels::kMaxHeadDim});
  };
  LayerKind kind;
  kind.shape.heads = metadata.required_count("attention.head_count", {1, 1024});
  kind.shape.key_dim = count("attention.key_length");
  kind.shape.value_dim = count("attention.value_length");
  kind.shape.scale = 1;
  if (windowed)
    kind.shape.window.positions = metadata.required_count("attention.sliding_window", {1, 1 << 30});
  RotarySpec spec = b.rotary_spec(count("rope.dimension_count"),
                                  metadata.required_positive("rope.freq_base" + suffix));
  if (!windowed) spec.factors = b.rotary_factors(spec.dims);
  kind.rotary = b.add_rotary(spec);
  return kind;
}

// The last layers of each kind may read the cache of the last one that has keys of its own.
std::optional<LayerIndex> cache_of(const std::vector<bool>& windowed, std::uint32_t layer,
                                   std::uint32_t own_caches) {
  if (layer < own_caches) return std::nullopt;
  for (std::uint32_t l = own_caches; l-- > 0;)
    if (windowed[l] == windowed[layer]) return static_cast<LayerIndex>(l);
  return std::nullopt;
}

MoeBlock::Weights read_experts(ModelBuilder& b, std::uint32_t layer, std::uint32_t width,
                               std::uint32_t dense_width) {
  MoeBlock::Weights weights = b.moe_weights(layer, "ffn_gate_inp.scale", width);
  weights.shared = b.ffn_weights(layer, "", dense_width);
  weights.shared_norm = b.norm(layer, "ffn_norm.weight");
  weights.shared_output_norm = b.norm(layer, "post_ffw_norm_1.weight");
  weights.expert_norm = b.norm(layer, "pre_ffw_norm_2.weight");
  weights.expert_output_norm = b.norm(layer, "post_ffw_norm_2.weight");
  weights.output_norm = b.norm(layer, "post_ffw_norm.weight");
  return weights;
}

}  // namespace

void build_gemma4(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  const ModelConfig& c = b.config();
  if (metadata.count_or("embedding_length_per_layer_input", {0, 1 << 16}, 0) > 0)
    throw_error(ErrorCode::kUnsupported,
                "{}: embeddings for each layer ({}.embedding_length_per_layer_input) are not "
                "supported; use a Gemma 4 without them",
                metadata.file().name(), c.architecture);
  model.embedding_scale = std::sqrt(static_cast<float>(c.embedding));
  model.logit_softcap = metadata.positive_or("final_logit_softcapping", 0);

  const std::uint32_t width = b.expert_width(), dense_width = b.dense_width();
  const std::vector<bool> windowed = b.windowed_layers(std::nullopt);
  const std::uint32_t shared = metadata.count_or("attention.shared_kv_layers", {0, 1024}, 0);
  b.require(shared < c.layers, "no layer has keys of its own");
  const LayerKind of_window = read_kind(b, true), of_all = read_kind(b, false);
  MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, true),
                        .expert_ff = width,
                        .activation = Activation::kGelu};
  moe.router.logit_scale = 1 / std::sqrt(static_cast<float>(c.embedding));

  for (std::uint32_t layer = 0; layer < c.layers; ++layer) {
    const LayerKind& kind = windowed[layer] ? of_window : of_all;
    AttentionBlock::Options attention{.shape = kind.shape,
                                      .rotary = kind.rotary,
                                      .values_normed = true,
                                      .cache = cache_of(windowed, layer, c.layers - shared)};
    attention.shape.kv_heads = metadata.count_of_layer(
        "attention.head_count_kv", attention.cache.value_or(layer), {1, 1024}, kind.shape.heads);
    const bool reads_another = layer >= c.layers - shared;
    b.require(!reads_another || attention.cache, "a layer has no keys, nor any to share");
    b.add_attention(layer, attention,
                    {.output_norm = "post_attention_norm.weight",
                     .head_norms = HeadNorms::kPerHead,
                     .shared_cache = reads_another,
                     .values_are_keys = true});
    b.add_moe(layer, moe, read_experts(b, layer, width, dense_width));
    if (b.has(layer, "layer_output_scale.weight"))
      b.add(layer, std::make_unique<ResidualScale>(
                       b.weights().vector(b.name(layer, "layer_output_scale.weight"), 1)));
  }
}

}  // namespace hearth::runtime
