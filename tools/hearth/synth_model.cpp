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

const SynthShape kShapes[] = {
    {"qwen3-30b-a3b", 48, 128, 8, 2048, 768, 32, 4, 128, 151936, 40960},
    {"qwen3-235b-a22b", 94, 128, 8, 4096, 1536, 64, 4, 128, 151936, 40960},
    {"qwen3.6-35b-a3b", 40, 256, 8, 2048, 512, 16, 2, 256, 248320, 262144, 512, 16, 32, 128},
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

std::string tensor_name(std::uint32_t layer, std::string_view suffix) {
  return fmt::format("blk.{}.{}", layer, suffix);
}

bool has_more_bits(const SynthShape& s, const SynthFormats& f, std::uint32_t layer) {
  return f.more_bits_in_half_the_layers && has_more_bits(layer, s.layers);
}

// Two branches per layer add to the residual stream: together they may double its variance.
double branch_gain(const SynthShape& s) { return 1.0 / std::sqrt(2.0 * s.layers); }

void add_attention(const SynthShape& s, const SynthFormats& f, std::uint32_t layer,
                   TensorList& list) {
  const auto name = [&](std::string_view suffix) { return tensor_name(layer, suffix); };
  const std::uint64_t d = s.embedding, q = std::uint64_t{s.heads} * s.head_dim;
  const std::uint64_t kv = std::uint64_t{s.kv_heads} * s.head_dim;
  list.norm(name("attn_norm.weight"), d);
  list.weights(name("attn_q.weight"), {d, s.recurrent() ? 2 * q : q}, f.dense);
  list.weights(name("attn_k.weight"), {d, kv}, f.dense);
  list.weights(name("attn_v.weight"), {d, kv}, has_more_bits(s, f, layer) ? f.down : f.dense);
  list.weights(name("attn_output.weight"), {q, d}, f.dense, branch_gain(s));
  list.norm(name("attn_q_norm.weight"), s.head_dim);
  list.norm(name("attn_k_norm.weight"), s.head_dim);
}

void add_delta_net(const SynthShape& s, const SynthFormats& f, std::uint32_t layer,
                   TensorList& list) {
  const auto name = [&](std::string_view suffix) { return tensor_name(layer, suffix); };
  const std::uint64_t d = s.embedding, gates = s.recurrent_value_heads;
  const std::uint64_t values = gates * s.recurrent_head_dim;
  const std::uint64_t channels =
      values + 2ull * s.recurrent_key_heads * std::uint64_t{s.recurrent_head_dim};
  list.norm(name("attn_norm.weight"), d);
  list.weights(name("attn_qkv.weight"), {d, channels}, f.dense);
  list.weights(name("attn_gate.weight"), {d, values}, f.dense);
  list.weights(name("ssm_conv1d.weight"), {kConvolutionTaps, channels}, WeightFormat::kF32);
  list.weights(name("ssm_dt.bias"), {gates}, WeightFormat::kF32);
  list.rate(name("ssm_a"), gates);
  list.weights(name("ssm_beta.weight"), {d, gates}, f.dense);
  list.weights(name("ssm_alpha.weight"), {d, gates}, f.dense);
  list.norm(name("ssm_norm.weight"), s.recurrent_head_dim);
  list.weights(name("ssm_out.weight"), {values, d}, f.dense, branch_gain(s));
}

void add_shared_expert(const SynthShape& s, const SynthFormats& f, std::uint32_t layer,
                       TensorList& list) {
  const auto name = [&](std::string_view suffix) { return tensor_name(layer, suffix); };
  const std::uint64_t d = s.embedding, ff = s.shared_ff;
  list.weights(name("ffn_gate_inp_shexp.weight"), {d}, WeightFormat::kF32);
  list.weights(name("ffn_gate_shexp.weight"), {d, ff}, f.dense);
  list.weights(name("ffn_up_shexp.weight"), {d, ff}, f.dense);
  list.weights(name("ffn_down_shexp.weight"), {ff, d}, f.dense, branch_gain(s));
}

void add_layer(const SynthShape& s, const SynthFormats& f, std::uint32_t layer, TensorList& list) {
  const auto name = [&](std::string_view suffix) { return tensor_name(layer, suffix); };
  const std::uint64_t d = s.embedding, ff = s.expert_ff, experts = s.experts;
  const bool large_down = has_more_bits(s, f, layer) || !f.more_bits_in_half_the_layers;
  if (s.recurrent() && (layer + 1) % kAttentionInterval != 0)
    add_delta_net(s, f, layer, list);
  else
    add_attention(s, f, layer, list);
  list.norm(name(s.recurrent() ? "post_attention_norm.weight" : "ffn_norm.weight"), d);
  list.add({name("ffn_gate_inp.weight"),
            {d, experts},
            WeightFormat::kF32,
            SynthContent::kRouter,
            1 / std::sqrt(static_cast<double>(d))});
  list.weights(name("ffn_gate_exps.weight"), {d, ff, experts}, f.expert);
  list.weights(name("ffn_up_exps.weight"), {d, ff, experts}, f.expert);
  list.weights(name("ffn_down_exps.weight"), {ff, d, experts}, large_down ? f.down : f.expert,
               branch_gain(s));
  if (s.recurrent()) add_shared_expert(s, f, layer, list);
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
    add_layer(shape, formats, layer, list);
  list.norm("output_norm.weight", d);
  list.weights("output.weight", {d, vocabulary}, formats.output);
  return list.take();
}

void set_synth_metadata(const SynthShape& shape, io::GgufWriter& writer) {
  const std::string architecture = shape.recurrent() ? "qwen35moe" : "qwen3moe";
  const auto set = [&](std::string_view key, std::uint64_t value) {
    writer.set(fmt::format("{}.{}", architecture, key), value);
  };
  writer.set("general.architecture", architecture);
  writer.set("general.name", fmt::format("synthetic {} of {} layers", shape.name, shape.layers));
  writer.set("general.quantization_version", std::uint64_t{2});
  set("block_count", shape.layers);
  set("context_length", shape.context);
  set("embedding_length", shape.embedding);
  set("feed_forward_length", std::uint64_t{shape.expert_ff} * shape.experts_used);
  set("vocab_size", shape.vocabulary);
  set("attention.head_count", shape.heads);
  set("attention.head_count_kv", shape.kv_heads);
  set("attention.key_length", shape.head_dim);
  set("attention.value_length", shape.head_dim);
  set("expert_count", shape.experts);
  set("expert_used_count", shape.experts_used);
  set("expert_feed_forward_length", shape.expert_ff);
  writer.set(architecture + ".attention.layer_norm_rms_epsilon", 1e-6);
  writer.set(architecture + ".rope.freq_base", shape.recurrent() ? 1e7 : 1e6);
  if (!shape.recurrent()) return;
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
  writer.set(architecture + ".rope.dimension_sections", sections);
}

}  // namespace hearth::tools
