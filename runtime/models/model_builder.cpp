#include "runtime/models/model_builder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hearth::runtime {

namespace {

constexpr MetadataReader::Range kHeads{1, 1024}, kHeadSize{16, kernels::kMaxHeadDim},
    kWidth{1, 1 << 22};

}  // namespace

ModelBuilder::ModelBuilder(const MetadataReader& metadata, Model& model)
    : metadata_(metadata), model_(model) {
  ModelConfig& c = config();
  c.architecture = metadata.architecture();
  c.name = metadata.file().metadata().string("general.name").value_or("");
  const std::uint32_t blocks = metadata.required_count("block_count", {1, 1024});
  const std::uint32_t predicting = metadata.count_or("nextn_predict_layers", {0, 1024}, 0);
  require(predicting < blocks, "all blocks are of multi-token prediction");
  c.layers = blocks - predicting;
  if (predicting > 0)
    model.notes.push_back(fmt::format("{} of {} blocks, for multi-token prediction, {} not used",
                                      predicting, blocks, predicting == 1 ? "is" : "are"));
  c.embedding = metadata.required_count("embedding_length", {32, 1 << 16});
  c.context_train = metadata.required_count("context_length", {1, 1 << 30});
  c.rms_epsilon = metadata.required_positive("attention.layer_norm_rms_epsilon");
  if (metadata.count_or("expert_count", {0, 1 << 14}, 0) == 0)
    throw_error(ErrorCode::kUnsupported,
                "{}: the model has no experts ({}.expert_count); this version runs mixtures of "
                "experts only",
                metadata.file().name(), c.architecture);
  c.experts = metadata.required_count("expert_count", {1, 1 << 14});
  c.experts_used = metadata.required_count("expert_used_count", {1, 256});
  require(c.experts_used <= c.experts, "more experts are used than there are");
  model.experts = ExpertCatalog(blocks);
  model.layers.resize(c.layers);
  add_embedding_and_output();
}

void ModelBuilder::require(bool fine, std::string_view what) const {
  if (!fine)
    throw_error(ErrorCode::kBadFile, "{}: {}; the metadata is damaged or of another model",
                metadata_.file().name(), what);
}

void ModelBuilder::add_embedding_and_output() {
  ModelConfig& c = config();
  WeightTable& w = weights();
  const std::uint64_t vocabulary = w.tensor("token_embd.weight", {}).shape[1];
  c.vocabulary = vocabulary > 1u << 24 ? 1 : static_cast<std::uint32_t>(vocabulary);
  model_.token_embedding = w.matrix("token_embd.weight", c.vocabulary, c.embedding);
  model_.output_norm = w.vector("output_norm.weight", c.embedding);
  model_.output = w.has("output.weight") ? w.matrix("output.weight", c.vocabulary, c.embedding)
                                         : model_.token_embedding;
}

void ModelBuilder::read_heads() {
  ModelConfig& c = config();
  c.heads = metadata_.required_count("attention.head_count", kHeads);
  c.kv_heads = metadata_.count_or("attention.head_count_kv", kHeads, c.heads);
  c.key_dim = metadata_.count_or("attention.key_length", kHeadSize, c.embedding / c.heads);
  c.value_dim = metadata_.count_or("attention.value_length", kHeadSize, c.embedding / c.heads);
  c.rope_dims = metadata_.count_or("rope.dimension_count", {2, kernels::kMaxHeadDim}, c.key_dim);
  c.rope_base = metadata_.positive_or("rope.freq_base", 10000.0f);
  check_heads({c.heads, c.kv_heads, c.key_dim, c.value_dim});
  require(c.rope_dims <= c.key_dim, "the rotary size exceeds the head");
  RotarySpec spec = rotary_spec(c.rope_dims, c.rope_base);
  spec.factors = rotary_factors(spec.dims);
  rotary_ = add_rotary(spec);
}

void ModelBuilder::check_heads(const AttentionShape& shape) const {
  require(shape.heads % shape.kv_heads == 0,
          "the number of heads is not a multiple of that of KV heads");
  const auto fine = [](std::uint32_t size) {
    return size > 0 && size % 16 == 0 && size <= kernels::kMaxHeadDim;
  };
  require(fine(shape.key_dim) && fine(shape.value_dim),
          fmt::format("the head size is not a multiple of 16 up to {}", kernels::kMaxHeadDim));
}

std::uint32_t ModelBuilder::expert_width(std::uint32_t fallback) const {
  constexpr std::string_view kKey = "expert_feed_forward_length";
  return fallback == 0 ? metadata_.required_count(kKey, {1, 1 << 18})
                       : metadata_.count_or(kKey, {1, 1 << 18}, fallback);
}

std::uint32_t ModelBuilder::dense_width() const {
  return metadata_.required_count("feed_forward_length", kWidth);
}

RotarySpec ModelBuilder::rotary_spec(std::uint32_t dims, float base) const {
  require(dims % 2 == 0 && dims > 0, "the rotary size is odd");
  RotarySpec spec{.dims = dims, .base = base};
  const std::string type = metadata_.text_or("rope.scaling.type", "none");
  if (type == "none") return spec;
  if (type != "linear" && type != "yarn")
    throw_error(ErrorCode::kUnsupported,
                "{}: metadata key {}.rope.scaling.type is {}, which is not supported; linear and "
                "yarn are",
                metadata_.file().name(), metadata_.architecture(), printable(type));
  const float factor = metadata_.positive_or("rope.scaling.factor", 1);
  spec.speed = 1 / factor;
  if (type == "linear" || factor == 1) return spec;
  spec.original_context = metadata_.count_or("rope.scaling.original_context_length", {1, 1u << 30},
                                             model_.config.context_train);
  spec.beta_fast = metadata_.positive_or("rope.scaling.yarn_beta_fast", 32);
  spec.beta_slow = metadata_.positive_or("rope.scaling.yarn_beta_slow", 1);
  const double magnitude = 1 + 0.1 * std::log(static_cast<double>(factor));
  spec.magnitude =
      static_cast<float>(magnitude) * metadata_.positive_or("rope.scaling.attn_factor", 1);
  return spec;
}

WeightVector ModelBuilder::rotary_factors(std::uint32_t dims) {
  return weights().optional_vector("rope_freqs.weight", dims / 2);
}

std::vector<bool> ModelBuilder::windowed_layers(std::optional<std::uint32_t> period) const {
  constexpr std::string_view kKey = "attention.sliding_window_pattern";
  std::vector<bool> windowed = metadata_.flags(kKey, model_.config.layers);
  if (!windowed.empty()) return windowed;
  const std::uint32_t every = period ? metadata_.count_or(kKey, {1, 1024}, *period)
                                     : metadata_.required_count(kKey, {1, 1024});
  for (std::uint32_t layer = 0; layer < model_.config.layers; ++layer)
    windowed.push_back((layer + 1) % every != 0);
  return windowed;
}

RotaryPlace ModelBuilder::add_rotary(const RotarySpec& spec) {
  const RotaryPlace place{rotary_dims(model_.rotary) / 2, spec.dims / 2};
  model_.rotary.push_back({spec, place});
  return place;
}

RouterSpec ModelBuilder::router_spec(Gating gating, bool normalized) const {
  const ModelConfig& c = model_.config;
  RouterSpec spec{.experts = c.experts, .used = c.experts_used, .gating = gating};
  const std::uint32_t function = metadata_.count_or("expert_gating_func", {0, 0xffffffff}, 0);
  if (function > 3)
    throw_error(ErrorCode::kUnsupported,
                "{}: metadata key {}.expert_gating_func is {}, which is not supported; 1 to 3 are",
                metadata_.file().name(), c.architecture, function);
  if (function > 0) {
    constexpr Gating kFunctions[] = {Gating::kSoftmax, Gating::kSigmoid, Gating::kSoftmaxOfChosen};
    spec.gating = kFunctions[function - 1];
  }
  spec.normalized = metadata_.flag_or("expert_weights_norm", normalized);
  // Some files say 0 where they mean 1.
  if (metadata_.file().metadata().real(c.architecture + ".expert_weights_scale").value_or(0) != 0)
    spec.weight_scale = metadata_.positive_or("expert_weights_scale", 1);
  spec.groups = std::max(metadata_.count_or("expert_group_count", {0, kMaxExpertGroups}, 1), 1u);
  spec.groups_used =
      spec.groups > 1 ? metadata_.required_count("expert_group_used_count", {1, spec.groups}) : 1;
  require(
      c.experts % spec.groups == 0 && c.experts / spec.groups * spec.groups_used >= c.experts_used,
      "the groups of experts do not fit their number");
  return spec;
}

std::string ModelBuilder::name(std::uint32_t layer, std::string_view suffix) const {
  return fmt::format("blk.{}.{}", layer, suffix);
}

bool ModelBuilder::has(std::uint32_t layer, std::string_view suffix) const {
  return model_.weights.has(name(layer, suffix));
}

void ModelBuilder::require_tensors(std::uint32_t layer,
                                   std::initializer_list<std::string_view> suffixes) const {
  for (const std::string_view suffix : suffixes)
    if (!has(layer, suffix)) throw_missing_tensor(metadata_.file(), name(layer, suffix));
}

WeightVector ModelBuilder::norm(std::uint32_t layer, std::string_view suffix) {
  return weights().vector(name(layer, suffix), config().embedding);
}

AttentionBlock::Options ModelBuilder::attention_options() const {
  const ModelConfig& c = model_.config;
  return {.shape = {c.heads, c.kv_heads, c.key_dim, c.value_dim}, .rotary = rotary_};
}

void ModelBuilder::add_attention(std::uint32_t layer, const AttentionBlock::Options& options,
                                 const AttentionNames& names) {
  check_heads(options.shape);
  require(2 * options.rotary.half <= options.shape.key_dim, "the rotary size exceeds the head");
  const AttentionShape& s = options.shape;
  require(!options.gated || s.key_dim == s.value_dim, "gates have another size than values");
  const std::uint32_t d = config().embedding, q = s.heads * s.key_dim, k = s.kv_heads * s.key_dim,
                      v = s.kv_heads * s.value_dim, o = s.heads * s.value_dim;
  WeightTable& w = weights();
  const auto in = [&](std::string_view suffix) { return name(layer, suffix); };
  AttentionBlock::Weights a{.norm = norm(layer, names.norm),
                            .query = w.matrix(in("attn_q.weight"), options.gated ? 2 * q : q, d),
                            .output = w.matrix(in("attn_output.weight"), d, o),
                            .query_bias = w.optional_vector(in("attn_q.bias"), q),
                            .output_bias = w.optional_vector(in("attn_output.bias"), d)};
  const bool whole = names.head_norms == HeadNorms::kWholeProjection;
  const bool normed = names.head_norms != HeadNorms::kNone;
  if (normed) a.query_norm = w.vector(in("attn_q_norm.weight"), whole ? q : s.key_dim);
  if (!names.shared_cache) {
    a.key = w.matrix(in("attn_k.weight"), k, d);
    a.key_bias = w.optional_vector(in("attn_k.bias"), k);
    if (!names.values_are_keys || has(layer, "attn_v.weight"))
      a.value = w.matrix(in("attn_v.weight"), v, d);
    else
      require(k == v, "values are keys, but of another size");
    a.value_bias = w.optional_vector(in("attn_v.bias"), v);
    if (normed) a.key_norm = w.vector(in("attn_k_norm.weight"), whole ? k : s.key_dim);
  }
  if (!names.output_norm.empty()) a.output_norm = norm(layer, names.output_norm);
  AttentionBlock::Options full = options;
  full.shape.sinks = w.optional_vector(in("attn_sinks.weight"), s.heads);
  add(layer, std::make_unique<AttentionBlock>(static_cast<LayerIndex>(layer), config(), full, a));
}

void ModelBuilder::add_ffn(std::uint32_t layer, std::uint32_t width, std::string_view norm_name,
                           Activation activation) {
  add(layer, std::make_unique<FfnBlock>(config(),
                                        FfnBlock::Weights{.norm = norm(layer, norm_name),
                                                          .ffn = ffn_weights(layer, "", width)},
                                        activation));
}

FfnWeights ModelBuilder::ffn_weights(std::uint32_t layer, std::string_view suffix,
                                     std::uint32_t width) {
  const auto matrix = [&](std::string_view part, std::uint32_t rows, std::uint32_t columns) {
    return weights().matrix(name(layer, fmt::format("ffn_{}{}.weight", part, suffix)), rows,
                            columns);
  };
  const std::uint32_t d = config().embedding;
  return {matrix("gate", width, d), matrix("up", width, d), matrix("down", d, width)};
}

MoeBlock::Weights ModelBuilder::moe_weights(std::uint32_t layer, std::string_view norm_name,
                                            std::uint32_t expert_ff) {
  const std::uint32_t d = config().embedding, experts = config().experts;
  WeightTable& w = weights();
  const auto in = [&](std::string_view suffix) { return name(layer, suffix); };
  return {.norm = norm(layer, norm_name),
          .router = {.matrix = w.matrix(in("ffn_gate_inp.weight"), experts, d),
                     .bias = w.optional_vector(in("ffn_gate_inp.bias"), experts),
                     .selection_bias = w.optional_vector(in("exp_probs_b.bias"), experts)},
          .gate_scale = w.optional_vector(in("ffn_gate_exps.scale"), experts),
          .up_scale = w.optional_vector(in("ffn_up_exps.scale"), experts),
          .down_scale = w.optional_vector(in("ffn_down_exps.scale"), experts),
          .gate_bias = w.optional_vectors(in("ffn_gate_exps.bias"), experts, expert_ff),
          .up_bias = w.optional_vectors(in("ffn_up_exps.bias"), experts, expert_ff),
          .down_bias = w.optional_vectors(in("ffn_down_exps.bias"), experts, d)};
}

void ModelBuilder::add_moe(std::uint32_t layer, const MoeBlock::Options& options,
                           const MoeBlock::Weights& weights) {
  const auto index = static_cast<LayerIndex>(layer);
  auto block = std::make_unique<MoeBlock>(index, config(), options, weights);
  model_.experts.add_layer(model_.weights, index, options.router.experts, config().embedding,
                           options.expert_ff);
  if (previous_ != nullptr) previous_->set_next(block.get());
  previous_ = block.get();
  add(layer, std::move(block));
}

void ModelBuilder::add(std::uint32_t layer, std::unique_ptr<Block> block) {
  model_.layers[layer].blocks.push_back(std::move(block));
}

}  // namespace hearth::runtime
