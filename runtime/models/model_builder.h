// What architectures have in common: metadata keys, tensor names, and how blocks are made of them.
//
// A tensor that changes what is computed (a bias, a scale, a selection bias) is used wherever the
// file has it; the architecture says which are required, and in what order blocks follow.
// All throw Error(kBadFile) that names the key or tensor and what was expected, and
// Error(kUnsupported) for what a file asks for and this version cannot do.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/blocks/attention.h"
#include "runtime/blocks/ffn.h"
#include "runtime/blocks/moe.h"
#include "runtime/metadata_reader.h"
#include "runtime/model.h"

namespace hearth::runtime {

// Norms of queries and keys before they are rotated: attn_q_norm.weight, attn_k_norm.weight.
enum class HeadNorms : std::uint8_t { kNone, kPerHead, kWholeProjection };

class ModelBuilder {
 public:
  // Reads what every architecture has: layers (without the blocks of multi-token prediction, which
  // are noted), sizes, experts, embedding and output, which is the embedding where there is none.
  ModelBuilder(const MetadataReader& metadata, Model& model);

  ModelConfig& config() { return model_.config; }
  Model& model() { return model_; }
  WeightTable& weights() { return model_.weights; }
  const MetadataReader& metadata() const { return metadata_; }

  // ---- Metadata

  // Heads, their sizes and the rotary of layers that are all alike, into config().
  void read_heads();
  // The width of experts: expert_feed_forward_length, else `fallback`, if not 0; else an error.
  std::uint32_t expert_width(std::uint32_t fallback = 0) const;
  std::uint32_t dense_width() const;  // feed_forward_length
  // With rope.scaling.*. YaRN's magnitude is that of the paper, 1 + 0.1 × ln(factor), times
  // rope.scaling.attn_factor.
  RotarySpec rotary_spec(std::uint32_t dims, float base) const;
  WeightVector rotary_factors(std::uint32_t dims);  // rope_freqs.weight, where the file has it
  RotaryPlace add_rotary(const RotarySpec& spec);
  // Top-k of config(), with expert_gating_func (where it is absent `gating`), expert_weights_norm,
  // expert_weights_scale and groups.
  RouterSpec router_spec(Gating gating, bool normalized) const;
  // Layers whose attention has a window, from attention.sliding_window_pattern: flags, or a period
  // of layers of which the last has none; where it is absent `period`, or else an error.
  std::vector<bool> windowed_layers(std::optional<std::uint32_t> period) const;
  void require(bool fine, std::string_view what) const;  // of the metadata

  // ---- Layers: each appends a block. Names are those after "blk.<layer>."

  struct AttentionNames {
    std::string_view norm = "attn_norm.weight";
    std::string_view output_norm = {};  // none
    HeadNorms head_norms = HeadNorms::kNone;
    bool shared_cache = false;     // keys and values are those of options.cache
    bool values_are_keys = false;  // where there is no attn_v.weight
  };
  // One head size, and one rotary, for all layers as read_heads() found them.
  AttentionBlock::Options attention_options() const;
  void add_attention(std::uint32_t layer, const AttentionBlock::Options& options,
                     const AttentionNames& names);

  void add_ffn(std::uint32_t layer, std::uint32_t width, std::string_view norm = "ffn_norm.weight",
               Activation activation = Activation::kSilu);

  // The weights of a MoE layer: router, scales and biases. Names of norms are the caller's.
  MoeBlock::Weights moe_weights(std::uint32_t layer, std::string_view norm,
                                std::uint32_t expert_ff);
  // ffn_{gate,up,down}<suffix>.weight
  FfnWeights ffn_weights(std::uint32_t layer, std::string_view suffix, std::uint32_t width);
  void add_moe(std::uint32_t layer, const MoeBlock::Options& options,
               const MoeBlock::Weights& weights);
  void add(std::uint32_t layer, std::unique_ptr<Block> block);

  std::string name(std::uint32_t layer, std::string_view suffix) const;
  bool has(std::uint32_t layer, std::string_view suffix) const;
  void require_tensors(std::uint32_t layer, std::initializer_list<std::string_view> suffixes) const;
  WeightVector norm(std::uint32_t layer, std::string_view suffix);  // [embedding]

 private:
  void check_heads(const AttentionShape& shape) const;
  void add_embedding_and_output();

  const MetadataReader& metadata_;
  Model& model_;
  RotaryPlace rotary_;
  MoeBlock* previous_ = nullptr;
};

}  // namespace hearth::runtime
