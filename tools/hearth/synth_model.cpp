#include "tools/hearth/synth_model.h"

#include <cmath>
#include <memory>
#include <string_view>

#include "base/check.h"
#include "base/error.h"

namespace hearth::tools {
namespace {

using kernels::WeightFormat;

constexpr double kNormDeviation = 0.05;
constexpr std::uint32_t kAttentionInterval = 4;  // of recurrent models
constexpr std::uint32_t kConvolutionTaps = 4;
// Logits of standard deviation 1 come from a residual stream of that size.
constexpr double kEmbeddingDeviation = 1.0;

constexpr SynthLatent kGlmFlash{.query_rank = 768,
                                .latent_dim = 512,
                                .plain_dim = 192,
                                .rotated_dim = 64,
                                .value_dim = 256,
                                .dense_layers = 1,
                                .dense_ff = 10240,
                                .shared_experts = 1,
                                .weight_scale = 1.8};
const SynthShape kShapes[] = {
    {"qwen3-30b-a3b", 48, 128, 8, 2048, 768, 32, 4, 128, 151936, 40960},
    {"qwen3-235b-a22b", 94, 128, 8, 4096, 1536, 64, 4, 128, 151936, 40960},
    {"qwen3.6-35b-a3b", 40, 256, 8, 2048, 512, 16, 2, 256, 248320, 262144, 512, 16, 32, 128},
    {"glm-4.7-flash", 47, 64, 4, 2048, 1536, 20, 1, 256, 154880, 202752, 0, 0, 0, 0, kGlmFlash},
    {"tiny", 4, 16, 4, 256, 256, 4, 2, 64, 512, 512},
    {"tiny-recurrent", 4, 16, 4, 256, 256, 4, 2, 64, 512, 512, 256, 2, 4, 64},
};

// The layers that llama.cpp's Q4_K_M gives more bits: the first and the last eighth, and every
// third between.
bool has_more_bits(std::uint32_t layer, std::uint32_t layers) {
  const std::uint32_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

void check_shape(const SynthShape& s) {
  const auto require = [](bool fine, std::string_view what) {
    if (!fine) throw_error(ErrorCode::kUsage, "{}", what);
  };
  require(s.layers > 0 && s.layers <= 1024, "--layers is not between 1 and 1024");
  require(s.experts > 0 && s.experts <= 16384, "--experts is not between 1 and 16384");
  require(s.experts_used > 0 && s.experts_used <= s.experts && s.experts_used <= 256,
          "--top-k is not between 1 and --experts, at most 256");
  require(s.embedding > 0 && s.expert_ff > 0, "--embedding and --expert-ff must not be 0");
  require(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0,
          "--heads is not a multiple of --kv-heads");
  require(s.head_dim > 0 && s.head_dim % 16 == 0 && s.head_dim <= 512,
          "--head-dim is not a multiple of 16 up to 512");
  require(s.context > 0, "--context must not be 0");
  require(s.layers > s.latent.dense_layers, "--layers leaves no layer with experts");
}

class TensorList {
 public:
  void weights(const std::string& name, std::vector<std::uint64_t> shape, WeightFormat format,
               double gain = 1.0) {
    const double deviation = gain / std::sqrt(static_cast<double>(shape[0]));
    add({name, std::move(shape), format, SynthContent::kWeights, deviation});
  }
  void norm(const std::string& name, std::uint64_t size) {
    add({name, {size}, WeightFormat::kF32, SynthContent::kNorm, kNormDeviation});
  }
  void rate(const std::string& name, std::uint64_t size) {
    add({name, {size}, WeightFormat::kF32, SynthContent::kRate, kNormDeviation});
  }
  void add(SynthTensor tensor) {
    const std::uint32_t block = kernels::traits(tensor.format).values_per_block;
    if (tensor.shape[0] % block != 0)
      throw_error(ErrorCode::kUsage,
                  "{}: rows of {} values are not whole {} blocks of {}; choose another format",
                  tensor.name, tensor.shape[0], kernels::traits(tensor.format).name, block);
    tensors_.push_back(std::move(tensor));
  }
  std::vector<SynthTensor> take() { return std::move(tensors_); }

 private:
  std::vector<SynthTensor> tensors_;
};

// How the tensors of one layer are named and made.
struct LayerOf {
  const SynthShape& s;
  const SynthFormats& f;
  std::uint32_t layer;
  TensorList& list;

  bool more_bits() const {
    return f.more_bits_in_half_the_layers && has_more_bits(layer, s.layers);
  }
  WeightFormat down() const {
    return more_bits() || !f.more_bits_in_half_the_layers ? f.down : f.expert;
  }
  // Two branches per layer add to the residual stream: together they may double its variance.
  double branch_gain() const { return 1.0 / std::sqrt(2.0 * s.layers); }

  std::string name(std::string_view suffix) const {
    return fmt::format("blk.{}.{}", layer, suffix);
  }
  void norm(std::string_view suffix, std::uint64_t size) const { list.norm(name(suffix), size); }
  void weights(std::string_view suffix, std::vector<std::uint64_t> shape, WeightFormat format,
               double gain = 1.0) const {
    list.weights(name(suffix), std::move(shape), format, gain);
  }
};

void add_attention(const LayerOf& l) {
  const std::uint64_t d = l.s.embedding, q = std::uint64_t{l.s.heads} * l.s.head_dim;
  const std::uint64_t kv = std::uint64_t{l.s.kv_heads} * l.s.head_dim;
  l.norm("attn_norm.weight", d);
  l.weights("attn_q.weight", {d, l.s.recurrent() ? 2 * q : q}, l.f.dense);
  l.weights("attn_k.weight", {d, kv}, l.f.dense);
  l.weights("attn_v.weight", {d, kv}, l.more_bits() ? l.f.down : l.f.dense);
  l.weights("attn_output.weight", {q, d}, l.f.dense, l.branch_gain());
  l.norm("attn_q_norm.weight", l.s.head_dim);
  l.norm("attn_k_norm.weight", l.s.head_dim);
}

// Rows of attn_k_b are no whole blocks of 256, for which llama.cpp takes Q8_0.
void add_latent_attention(const LayerOf& l) {
  const SynthLatent& a = l.s.latent;
  const std::uint64_t d = l.s.embedding, heads = l.s.heads;
  const std::uint64_t values = heads * a.value_dim;
  l.norm("attn_norm.weight", d);
  l.weights("attn_q_a.weight", {d, a.query_rank}, l.f.dense);
  l.norm("attn_q_a_norm.weight", a.query_rank);
  l.weights("attn_q_b.weight", {a.query_rank, heads * (a.plain_dim + a.rotated_dim)}, l.f.dense);
  l.weights("attn_kv_a_mqa.weight", {d, std::uint64_t{a.latent_dim} + a.rotated_dim}, l.f.dense);
  l.norm("attn_kv_a_norm.weight", a.latent_dim);
  l.weights("attn_k_b.weight", {a.plain_dim, a.latent_dim, heads}, WeightFormat::kQ8_0);
  l.weights("attn_v_b.weight", {a.latent_dim, a.value_dim, heads}, l.f.dense);
  l.weights("attn_output.weight", {values, d}, l.f.dense, l.branch_gain());
}

void add_delta_net(const LayerOf& l) {
  const std::uint64_t d = l.s.embedding, gates = l.s.recurrent_value_heads;
  const std::uint64_t values = gates * l.s.recurrent_head_dim;
  const std::uint64_t channels =
      values + 2ull * l.s.recurrent_key_heads * std::uint64_t{l.s.recurrent_head_dim};
  l.norm("attn_norm.weight", d);
  l.weights("attn_qkv.weight", {d, channels}, l.f.dense);
  l.weights("attn_gate.weight", {d, values}, l.f.dense);
  l.weights("ssm_conv1d.weight", {kConvolutionTaps, channels}, WeightFormat::kF32);
  l.weights("ssm_dt.bias", {gates}, WeightFormat::kF32);
  l.list.rate(l.name("ssm_a"), gates);
  l.weights("ssm_beta.weight", {d, gates}, l.f.dense);
  l.weights("ssm_alpha.weight", {d, gates}, l.f.dense);
  l.norm("ssm_norm.weight", l.s.recurrent_head_dim);
  l.weights("ssm_out.weight", {values, d}, l.f.dense, l.branch_gain());
}

// ffn_{gate,up,down}<suffix>.weight
void add_ffn(const LayerOf& l, std::string_view suffix, std::uint64_t width, WeightFormat down) {
  const std::uint64_t d = l.s.embedding;
  l.weights(fmt::format("ffn_gate{}.weight", suffix), {d, width}, l.f.dense);
  l.weights(fmt::format("ffn_up{}.weight", suffix), {d, width}, l.f.dense);
  l.weights(fmt::format("ffn_down{}.weight", suffix), {width, d}, down, l.branch_gain());
}

void add_experts(const LayerOf& l) {
  const std::uint64_t d = l.s.embedding, ff = l.s.expert_ff, experts = l.s.experts;
  l.list.add({l.name("ffn_gate_inp.weight"),
              {d, experts},
              WeightFormat::kF32,
              SynthContent::kRouter,
              1 / std::sqrt(static_cast<double>(d))});
  l.weights("ffn_gate_exps.weight", {d, ff, experts}, l.f.expert);
  l.weights("ffn_up_exps.weight", {d, ff, experts}, l.f.expert);
  l.weights("ffn_down_exps.weight", {ff, d, experts}, l.down(), l.branch_gain());
}

void add_layer_attention(const LayerOf& l) {
  if (l.s.has_latent())
    add_latent_attention(l);
  else if (l.s.recurrent() && (l.layer + 1) % kAttentionInterval != 0)
    add_delta_net(l);
  else
    add_attention(l);
}

void add_shared_experts(const LayerOf& l) {
  if (l.s.recurrent()) {
    l.weights("ffn_gate_inp_shexp.weight", {l.s.embedding}, WeightFormat::kF32);
    add_ffn(l, "_shexp", l.s.shared_ff, l.f.dense);
  } else if (l.s.has_latent()) {
    l.norm("exp_probs_b.bias", l.s.experts);  // only differences count
    add_ffn(l, "_shexp", std::uint64_t{l.s.expert_ff} * l.s.latent.shared_experts, l.down());
  }
}

void add_layer(const LayerOf& l) {
  add_layer_attention(l);
  l.norm(l.s.recurrent() ? "post_attention_norm.weight" : "ffn_norm.weight", l.s.embedding);
  if (l.layer < l.s.latent.dense_layers) {
    add_ffn(l, "", l.s.latent.dense_ff, l.down());
    return;
  }
  add_experts(l);
  add_shared_experts(l);
}

// Sets keys of the shape's architecture.
struct SetKey {
  const SynthShape& shape;
  io::GgufWriter& writer;

  std::string key(std::string_view name) const {
    return fmt::format("{}.{}", shape.architecture(), name);
  }
  void operator()(std::string_view name, std::uint64_t value) const {
    writer.set(key(name), value);
  }
  void number(std::string_view name, double value) const { writer.set(key(name), value); }
};

void set_latent_metadata(const SynthLatent& a, const SetKey& set) {
  set("attention.q_lora_rank", a.query_rank);
  set("attention.kv_lora_rank", a.latent_dim);
  set("attention.key_length_mla", a.plain_dim + a.rotated_dim);
  set("attention.value_length_mla", a.value_dim);
  set("rope.dimension_count", a.rotated_dim);
  set("leading_dense_block_count", a.dense_layers);
  set("expert_shared_count", a.shared_experts);
  set("expert_gating_func", 2);
  set.writer.set(set.key("expert_weights_norm"), true);
  set.number("expert_weights_scale", a.weight_scale);
}

void set_recurrent_metadata(const SynthShape& shape, const SetKey& set) {
  set("expert_shared_feed_forward_length", shape.shared_ff);
  set("full_attention_interval", kAttentionInterval);
  set("ssm.conv_kernel", kConvolutionTaps);
  set("ssm.state_size", shape.recurrent_head_dim);
  set("ssm.group_count", shape.recurrent_key_heads);
  set("ssm.time_step_rank", shape.recurrent_value_heads);
  set("ssm.inner_size", std::uint64_t{shape.recurrent_value_heads} * shape.recurrent_head_dim);
  set("rope.dimension_count", shape.head_dim / 4);
  // Pairs for text, height and width, as in the published models; for text they are all alike.
  const std::uint64_t pairs = shape.head_dim / 8, image = (pairs + 1) / 3, other = pairs / 3;
  auto sections = std::make_shared<io::GgufArray>();
  sections->values = std::vector<std::uint64_t>{pairs - image - other, image, other, 0};
  set.writer.set(set.key("rope.dimension_sections"), sections);
}

}  // namespace

std::vector<std::string> synth_shape_names() {
  std::vector<std::string> names;
  for (const SynthShape& shape : kShapes) names.push_back(shape.name);
  return names;
}

SynthShape synth_shape(std::string_view name) {
  for (const SynthShape& shape : kShapes)
    if (shape.name == name) return shape;
  throw_error(ErrorCode::kUsage, "unknown shape '{}'", printable(name));
}

WeightFormat parse_format(std::string_view name) {
  std::string upper;
  for (const char c : name) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  if (const auto format = kernels::format_of_name(upper)) return *format;
  std::string known;
  for (const kernels::WeightFormatTraits& row : kernels::kWeightFormats)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  throw_error(ErrorCode::kUsage, "unknown weight format '{}'; known are {}", printable(name),
              known);
}

SynthFormats synth_mix(std::string_view name) {
  if (name == "q4_k_m" || name == "Q4_K_M") return {};
  const WeightFormat format = parse_format(name);
  return {format, format, format, format, false};
}

std::uint64_t SynthTensor::values() const {
  std::uint64_t product = 1;
  for (const std::uint64_t size : shape) product *= size;
  return product;
}

Bytes SynthTensor::row_bytes() const {
  const kernels::WeightFormatTraits& traits = kernels::traits(format);
  return Bytes(shape[0] / traits.values_per_block * traits.bytes_per_block);
}

Bytes SynthTensor::bytes() const { return row_bytes() * (values() / shape[0]); }

std::vector<SynthTensor> synth_tensors(const SynthShape& shape, const SynthFormats& formats) {
  check_shape(shape);
  TensorList list;
  const std::uint64_t d = shape.embedding, vocabulary = shape.vocabulary;
  list.weights("token_embd.weight", {d, vocabulary}, formats.dense,
               kEmbeddingDeviation * std::sqrt(static_cast<double>(d)));
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer)
    add_layer({shape, formats, layer, list});
  list.norm("output_norm.weight", d);
  list.weights("output.weight", {d, vocabulary}, formats.output);
  return list.take();
}

void set_synth_metadata(const SynthShape& shape, io::GgufWriter& writer) {
  const SetKey set{shape, writer};
  const bool latent = shape.has_latent();
  writer.set("general.architecture", std::string(shape.architecture()));
  writer.set("general.name", fmt::format("synthetic {} of {} layers", shape.name, shape.layers));
  writer.set("general.quantization_version", std::uint64_t{2});
  set("block_count", shape.layers);
  set("context_length", shape.context);
  set("embedding_length", shape.embedding);
  set("feed_forward_length",
      latent ? shape.latent.dense_ff : std::uint64_t{shape.expert_ff} * shape.experts_used);
  set("vocab_size", shape.vocabulary);
  set("attention.head_count", shape.heads);
  set("attention.head_count_kv", shape.kv_heads);
  set("attention.key_length",
      latent ? shape.latent.latent_dim + shape.latent.rotated_dim : shape.head_dim);
  set("attention.value_length", latent ? shape.latent.latent_dim : shape.head_dim);
  set("expert_count", shape.experts);
  set("expert_used_count", shape.experts_used);
  set("expert_feed_forward_length", shape.expert_ff);
  set.number("attention.layer_norm_rms_epsilon", latent ? 1e-5 : 1e-6);
  set.number("rope.freq_base", shape.recurrent() ? 1e7 : 1e6);
  if (latent) set_latent_metadata(shape.latent, set);
  if (shape.recurrent()) set_recurrent_metadata(shape, set);
}

}  // namespace hearth::tools
