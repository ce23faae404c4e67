// Qwen3-MoE (30B-A3B: 48 layers, 235B-A22B: 94): attention with per-head q/k norms, then routed
// experts in every layer, softmax over all experts, weights of the chosen ones renormalised.
#include "base/error.h"
#include "runtime/blocks/attention.h"
#include "runtime/blocks/moe.h"
#include "runtime/models/architecture.h"

namespace hearth::runtime {
namespace {

ModelConfig read_config(const MetadataReader& metadata) {
  ModelConfig c;
  c.architecture = metadata.architecture();
  c.name = metadata.file().metadata().string("general.name").value_or("");
  c.layers = metadata.required_count("block_count", {1, 1024});
  c.embedding = metadata.required_count("embedding_length", {32, 1 << 16});
  c.context_train = metadata.required_count("context_length", {1, 1 << 30});
  c.heads = metadata.required_count("attention.head_count", {1, 1024});
  c.kv_heads = metadata.count_or("attention.head_count_kv", {1, 1024}, c.heads);
  c.key_dim =
      metadata.count_or("attention.key_length", {16, kernels::kMaxHeadDim}, c.embedding / c.heads);
  c.value_dim = metadata.count_or("attention.value_length", {16, kernels::kMaxHeadDim},
                                  c.embedding / c.heads);
  c.rms_epsilon = metadata.required_positive("attention.layer_norm_rms_epsilon");
  c.rope_dims = metadata.count_or("rope.dimension_count", {2, kernels::kMaxHeadDim}, c.key_dim);
  c.rope_base = metadata.positive_or("rope.freq_base", 10000.0f);
  c.experts = metadata.required_count("expert_count", {1, 1 << 14});
  c.experts_used = metadata.required_count("expert_used_count", {1, 256});
  if (const auto width = metadata.optional_count("expert_feed_forward_length", {1, 1 << 18}))
    c.expert_ff = *width;
  else
    c.expert_ff = metadata.required_count("feed_forward_length", {1, 1 << 22}) / c.experts_used;
  return c;
}

void check(const ModelConfig& c, const io::GgufFile& file) {
  const auto require = [&](bool fine, std::string_view what) {
    if (!fine)
      throw_error(ErrorCode::kBadFile, "{}: {}; the metadata is damaged or of another model",
                  file.name(), what);
  };
  require(c.heads % c.kv_heads == 0, "the number of heads is not a multiple of that of KV heads");
  require(c.key_dim % 16 == 0 && c.key_dim <= kernels::kMaxHeadDim && c.value_dim % 16 == 0 &&
              c.value_dim <= kernels::kMaxHeadDim && c.value_dim > 0 && c.key_dim > 0,
          "the head size is not a multiple of 16 up to 512");
  require(c.rope_dims % 2 == 0 && c.rope_dims <= c.key_dim, "the rotary size exceeds the head");
  require(c.experts_used <= c.experts, "more experts are used than there are");
  require(c.expert_ff > 0, "experts have no hidden layer");
}

}  // namespace

void build_qwen3moe(const MetadataReader& metadata, Model& model) {
  const io::GgufFile& file = metadata.file();
  ModelConfig& c = model.config;
  WeightTable& w = model.weights;
  c = read_config(metadata);
  check(c, file);

  const io::GgufTensor* embedding = file.find("token_embd.weight");
  c.vocabulary = embedding == nullptr || embedding->shape[1] > 1u << 24
                     ? 1
                     : static_cast<std::uint32_t>(embedding->shape[1]);
  model.token_embedding = w.matrix("token_embd.weight", c.vocabulary, c.embedding);
  model.output_norm = w.vector("output_norm.weight", c.embedding);
  model.output = w.has("output.weight") ? w.matrix("output.weight", c.vocabulary, c.embedding)
                                        : model.token_embedding;

  model.experts = ExpertCatalog(c.layers);
  MoeBlock* previous = nullptr;
  for (std::uint32_t l = 0; l < c.layers; ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    const auto name = [&](std::string_view suffix) { return fmt::format("blk.{}.{}", l, suffix); };
    const std::uint32_t q = c.heads * c.key_dim, k = c.kv_heads * c.key_dim,
                        v = c.kv_heads * c.value_dim, o = c.heads * c.value_dim;
    auto attention = std::make_unique<AttentionBlock>(
        layer, c,
        AttentionBlock::Weights{.norm = w.vector(name("attn_norm.weight"), c.embedding),
                                .query = w.matrix(name("attn_q.weight"), q, c.embedding),
                                .key = w.matrix(name("attn_k.weight"), k, c.embedding),
                                .value = w.matrix(name("attn_v.weight"), v, c.embedding),
                                .output = w.matrix(name("attn_output.weight"), c.embedding, o),
                                .query_bias = w.optional_vector(name("attn_q.bias"), q),
                                .key_bias = w.optional_vector(name("attn_k.bias"), k),
                                .value_bias = w.optional_vector(name("attn_v.bias"), v),
                                .query_norm = w.vector(name("attn_q_norm.weight"), c.key_dim),
                                .key_norm = w.vector(name("attn_k_norm.weight"), c.key_dim)});
    auto moe = std::make_unique<MoeBlock>(
        layer, c,
        MoeBlock::Weights{.norm = w.vector(name("ffn_norm.weight"), c.embedding),
                          .router = w.matrix(name("ffn_gate_inp.weight"), c.experts, c.embedding),
                          .gate_scale = w.optional_vector(name("ffn_gate_exps.scale"), c.experts),
                          .up_scale = w.optional_vector(name("ffn_up_exps.scale"), c.experts),
                          .down_scale = w.optional_vector(name("ffn_down_exps.scale"), c.experts)});
    model.experts.add_layer(file, layer, c.experts, c.embedding, c.expert_ff);

    if (previous != nullptr) previous->set_next(moe.get());
    previous = moe.get();
    Layer& blocks = model.layers.emplace_back();
    blocks.blocks.push_back(std::move(attention));
    blocks.blocks.push_back(std::move(moe));
  }
}

}  // namespace hearth::runtime
