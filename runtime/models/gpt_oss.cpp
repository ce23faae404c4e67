// gpt-oss (20B: 24 layers, 120B: 36): attention with biases and sinks, a window on every second
// layer, YaRN; then routed experts in every layer with biases and a clamped activation, softmax
// over the logits of the chosen.
#include "runtime/models/architecture.h"
#include "runtime/models/model_builder.h"

namespace hearth::runtime {

void build_gpt_oss(const MetadataReader& metadata, Model& model) {
  ModelBuilder b(metadata, model);
  b.read_heads();
  const std::uint32_t width = b.expert_width();
  const std::uint32_t window = metadata.required_count("attention.sliding_window", {1, 1 << 30});
  const std::vector<bool> windowed = b.windowed_layers(2);
  const MoeBlock::Options moe{.router = b.router_spec(Gating::kSoftmaxOfChosen, false),
                              .expert_ff = width,
                              .activation = Activation::kClamped};
  for (std::uint32_t layer = 0; layer < b.config().layers; ++layer) {
    b.require_tensors(layer, {"attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias",
                              "attn_sinks.weight", "ffn_gate_inp.bias", "ffn_gate_exps.bias",
                              "ffn_up_exps.bias", "ffn_down_exps.bias"});
    AttentionBlock::Options attention = b.attention_options();
    if (windowed[layer]) attention.shape.window.positions = window;
    b.add_attention(layer, attention, {});
    b.add_moe(layer, moe, b.moe_weights(layer, "post_attention_norm.weight", width));
  }
}

}  // namespace hearth::runtime
