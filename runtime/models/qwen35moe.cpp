// Qwen3.5 and 3.6 (35B-A3B: 40 layers, 122B-A10B: 48, 397B-A17B: 60) and Qwen3-Next (80B-A3B: 48):
// gated delta nets, with gated attention in every fourth layer; then routed experts in every layer,
// softmax over all, weights renormalised, and a gated shared expert.
#include "base/error.h"
#include "runtime/blocks/delta_net.h"
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {
namespace {

using Heads = DeltaNetShape::Heads;

DeltaNetShape read_shape(const ModelBuilder& b, Heads heads) {
  const MetadataReader& m = b.metadata();
  constexpr MetadataReader::Range kHeadCount{1, 1024}, kSize{16, 1024};
  DeltaNetShape s{.key_heads = m.required_count("ssm.group_count", kHeadCount),
                  .value_heads = m.required_count("ssm.time_step_rank", kHeadCount),
                  .key_dim = m.required_count("ssm.state_size", kSize),
                  .taps = m.required_count("ssm.conv_kernel", {2, kernels::kMaxConvolutionTaps}),
                  .heads = heads};
  const std::uint32_t values = m.required_count("ssm.inner_size", {16, 1 << 20});
  s.value_dim = values / s.value_heads;
  b.require(s.value_heads % s.key_heads == 0,
            "the number of value heads is not a multiple of that of key heads");
  b.require(s.values() == values && s.key_dim % 16 == 0 && s.value_dim % 16 == 0,
            "the heads of recurrent layers have not a multiple of 16 channels");
  return s;
}

// The layers that are recurrent: flags of the file, else all but every n-th.
std::vector<bool> recurrent_layers(const ModelBuilder& b, std::uint32_t layers) {
  std::vector<bool> result = b.metadata().flags("attention.recurrent_layers", layers);
  if (!result.empty()) return result;
  const std::uint32_t interval = b.metadata().count_or("full_attention_interval", {1, 1024}, 4);
  for (std::uint32_t layer = 0; layer < layers; ++layer)
    result.push_back((layer + 1) % interval != 0);
  return result;
}

const kernels::WeightMatrix* convolution_of(ModelBuilder& b, const std::string& name,
                                            const DeltaNetShape& s) {
  const kernels::WeightMatrix* const matrix = b.weights().matrix(name, s.channels(), s.taps);
  if (matrix->format != kernels::WeightFormat::kF32)
    throw_error(ErrorCode::kUnsupported,
                "{}: tensor {} is {} where F32 is expected; convert the model again",
                b.metadata().file().name(), name, kernels::traits(matrix->format).name);
  return matrix;
}

void add_delta_net(ModelBuilder& b, std::uint32_t layer, const DeltaNetShape& s) {
  WeightTable& w = b.weights();
  const std::uint32_t d = b.config().embedding, gates = s.value_heads;
  const auto in = [&](std::string_view suffix) { return b.name(layer, suffix); };
  DeltaNetBlock::Weights weights{.norm = b.norm(layer, "attn_norm.weight"),
                                 .convolution = convolution_of(b, in("ssm_conv1d.weight"), s),
                                 .bias = w.vector(in("ssm_dt.bias"), gates),
                                 .rate = w.vector(in("ssm_a"), gates),
                                 .head_norm = w.vector(in("ssm_norm.weight"), s.value_dim),
                                 .output = w.matrix(in("ssm_out.weight"), d, s.values())};
  if (b.has(layer, "ssm_ba.weight")) {
    weights.fused_gates = w.matrix(in("ssm_ba.weight"), 2 * gates, d);
  } else {
    weights.alpha = w.matrix(in("ssm_alpha.weight"), gates, d);
    weights.beta = w.matrix(in("ssm_beta.weight"), gates, d);
  }
  if (weights.fused_gates != nullptr && b.has(layer, "ssm_in.weight")) {
    weights.fused = w.matrix(in("ssm_in.weight"), s.channels() + s.values(), d);
  } else {
    weights.qkv = w.matrix(in("attn_qkv.weight"), s.channels(), d);
    weights.z = w.matrix(in("attn_gate.weight"), s.values(), d);
  }
  b.add(layer, std::make_unique<DeltaNetBlock>(static_cast<LayerIndex>(layer), s,
                                               b.config().rms_epsilon, weights));
}

void build(const MetadataReader& metadata, Model& model, Heads heads) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const DeltaNetShape shape = read_shape(b, heads);
  const std::vector<bool> recurrent = recurrent_layers(b, b.config().layers);
  AttentionBlock::Options attention = b.attention_options();
  attention.gated = true;
  const std::uint32_t width = b.expert_width();
  const std::uint32_t shared_width =
      metadata.required_count("expert_shared_feed_forward_length", {1, 1 << 20});
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmax, true), .expert_ff = width};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    if (recurrent[layer])
      add_delta_net(b, layer, shape);
    else
      b.add_attention(layer, attention, {.head_norms = HeadNorms::kPerHead});
    MoeBlock::Weights weights = b.moe_weights(layer, "post_attention_norm.weight", width);
    weights.shared = b.ffn_weights(layer, "_shexp", shared_width);
    weights.shared_gate = b.norm(layer, "ffn_gate_inp_shexp.weight");
    b.add_moe(layer, moe, weights);
  }
}

}  // namespace

void build_qwen35moe(const MetadataReader& metadata, Model& model) {
  build(metadata, model, Heads::kTiled);
}

void build_qwen3next(const MetadataReader& metadata, Model& model) {
  build(metadata, model, Heads::kGrouped);
}

}  // namespace hearth::runtime
