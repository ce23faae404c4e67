// DeepSeek-V2, V3 and R1, and what has their shape (Kimi-K2, GLM-4.7-Flash): multi-head latent
// attention, leading dense layers, then routed experts beside shared ones that every token passes.
#include <cmath>

#include "base/error.h"
#include "runtime/blocks/latent_attention.h"
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {
namespace {

using Attention = LatentAttentionBlock;

double real_or_zero(const MetadataReader& m, std::string_view key) {
  const double value =
      m.file().metadata().real(fmt::format("{}.{}", m.architecture(), key)).value_or(0);
  return value == 0 ? 0 : double{m.positive_or(key, 0)};
}

// YaRN's magnitude is not in the sines and cosines where the file has a multiplier of its
// logarithm: it is then squared into the scale of the scores (the file's value is 0.1 × mscale).
float score_scale(ModelBuilder& b, std::uint32_t query_width, RotarySpec& rotary) {
  const MetadataReader& m = b.metadata();
  double magnitude = 1;
  if (rotary.original_context > 0) {
    const double times = real_or_zero(m, "rope.scaling.yarn_log_multiplier");
    if (times > 0) rotary.magnitude = m.positive_or("rope.scaling.attn_factor", 1);
    magnitude = double{rotary.magnitude} * (1 - times * std::log(double{rotary.speed}));
  }
  return static_cast<float>(magnitude * magnitude / std::sqrt(static_cast<double>(query_width)));
}

// Files from before heads had matrices of their own give the head sizes where later ones give those
// of what is cached.
Attention::Options read_attention(ModelBuilder& b) {
  const MetadataReader& m = b.metadata();
  ModelConfig& c = b.config();
  constexpr MetadataReader::Range kSize{1, 1024};
  const auto head_size = [&](const std::string& key) {
    return m.has(key + "_mla") ? m.required_count(key + "_mla", kSize)
                               : m.required_count(key, kSize);
  };
  Attention::Options o{.heads = m.required_count("attention.head_count", kSize),
                       .query_rank = m.count_or("attention.q_lora_rank", {0, 1 << 16}, 0),
                       .latent_dim = m.required_count("attention.kv_lora_rank", kSize),
                       .rotated_dim = m.required_count("rope.dimension_count", kSize),
                       .value_dim = head_size("attention.value_length")};
  const std::uint32_t query_width = head_size("attention.key_length");
  b.require(o.rotated_dim < query_width, "the rotary size exceeds the head");
  b.require(o.latent_dim % 16 == 0 && o.rotated_dim % 16 == 0 &&
                o.latent_dim + o.rotated_dim <= kernels::kMaxHeadDim,
            fmt::format("the latent and its rotary part are not multiples of 16 of {} together",
                        kernels::kMaxHeadDim));
  if (real_or_zero(m, "attention.temperature_scale") > 0)
    throw_error(ErrorCode::kUnsupported,
                "{}: the model scales queries by their position (attention.temperature_scale), "
                "which is not supported with latent attention",
                m.file().name());
  o.plain_dim = query_width - o.rotated_dim;
  RotarySpec rotary = b.rotary_spec(o.rotated_dim, m.positive_or("rope.freq_base", 10000.0f));
  o.scale = score_scale(b, query_width, rotary);
  o.rotary = b.add_rotary(rotary);
  c.heads = o.heads;
  c.kv_heads = 1;
  c.key_dim = o.latent_dim + o.rotated_dim;
  c.value_dim = o.latent_dim;
  c.rope_dims = o.rotated_dim;
  return o;
}

// attn_k_b and attn_v_b; older files have both in attn_kv_b, with the rows of the key matrix where
// later files have its columns.
void read_head_matrices(ModelBuilder& b, std::uint32_t layer, const Attention::Options& o,
                        Attention::Weights& weights) {
  WeightTable& w = b.weights();
  if (b.has(layer, "attn_k_b.weight") || !b.has(layer, "attn_kv_b.weight")) {
    weights.key = {
        .weights = w.matrices(b.name(layer, "attn_k_b.weight"), o.heads, o.latent_dim, o.plain_dim),
        .rows = o.latent_dim,
        .stride = o.latent_dim};
    weights.value = {
        .weights = w.matrices(b.name(layer, "attn_v_b.weight"), o.heads, o.value_dim, o.latent_dim),
        .rows = o.value_dim,
        .stride = o.value_dim};
    return;
  }
  const std::uint32_t each = o.plain_dim + o.value_dim;
  const kernels::WeightMatrix* const both =
      w.matrix(b.name(layer, "attn_kv_b.weight"), o.heads * each, o.latent_dim);
  weights.key = {
      .weights = w.transposed(both, {.count = o.heads, .rows = o.plain_dim, .stride = each}),
      .rows = o.latent_dim,
      .stride = o.latent_dim};
  weights.value = {.weights = both, .rows = o.value_dim, .stride = each, .first = o.plain_dim};
}

void add_attention(ModelBuilder& b, std::uint32_t layer, const Attention::Options& o) {
  WeightTable& w = b.weights();
  const std::uint32_t d = b.config().embedding;
  const std::uint32_t queries = o.heads * (o.plain_dim + o.rotated_dim);
  const auto in = [&](std::string_view suffix) { return b.name(layer, suffix); };
  Attention::Weights weights{
      .norm = b.norm(layer, "attn_norm.weight"),
      .latent = w.matrix(in("attn_kv_a_mqa.weight"), o.latent_dim + o.rotated_dim, d),
      .latent_norm = w.vector(in("attn_kv_a_norm.weight"), o.latent_dim),
      .output = w.matrix(in("attn_output.weight"), d, o.heads * o.value_dim)};
  if (o.query_rank > 0) {
    weights.query_a = w.matrix(in("attn_q_a.weight"), o.query_rank, d);
    weights.query_a_norm = w.vector(in("attn_q_a_norm.weight"), o.query_rank);
    weights.query = w.matrix(in("attn_q_b.weight"), queries, o.query_rank);
  } else {
    weights.query = w.matrix(in("attn_q.weight"), queries, d);
  }
  read_head_matrices(b, layer, o, weights);
  b.add(layer, std::make_unique<Attention>(static_cast<LayerIndex>(layer), b.config(), o, weights));
}

// Files without the key are of softmax routers, but for GLM-4.7-Flash.
Gating gating_without_key(const ModelConfig& c) {
  const bool flash = (c.layers == 47 || c.layers == 48) && c.vocabulary == 154880;
  return flash ? Gating::kSigmoid : Gating::kSoftmax;
}

}  // namespace

void build_deepseek2(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  const ModelConfig& c = b.config();
  const Attention::Options attention = read_attention(b);
  const std::uint32_t dense = metadata.count_or("leading_dense_block_count", {0, c.layers}, 0);
  const std::uint32_t shared = metadata.count_or("expert_shared_count", {0, 64}, 0);
  const std::uint32_t width = b.expert_width();
  const MoeBlock::Options moe{.router = b.router_spec(gating_without_key(c), false),
                              .expert_ff = width};
  for (std::uint32_t layer = 0; layer < c.layers; ++layer) {
    add_attention(b, layer, attention);
    if (layer < dense) {
      b.add_ffn(layer, b.dense_width());
      continue;
    }
    MoeBlock::Weights weights = b.moe_weights(layer, "ffn_norm.weight", width);
    if (shared > 0) weights.shared = b.ffn_weights(layer, "_shexp", width * shared);
    b.add_moe(layer, moe, weights);
  }
}

}  // namespace hearth::runtime
