// The description of a synthetic model: every tensor with its format and its statistics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "io/gguf_writer.h"
#include "kernels/weight_format.h"

namespace hearth::tools {

// Of multi-head latent attention and what goes with it in deepseek2 models.
struct SynthLatent {
  std::uint32_t query_rank = 0;
  std::uint32_t latent_dim = 0;  // 0: keys and values have heads of their own
  std::uint32_t plain_dim = 0;   // of a query, not rotated
  std::uint32_t rotated_dim = 0;
  std::uint32_t value_dim = 0;
  std::uint32_t dense_layers = 0;
  std::uint32_t dense_ff = 0;
  std::uint32_t shared_experts = 0;
  double weight_scale = 0;
};

struct SynthShape {
  std::string name;
  std::uint32_t layers = 0;
  std::uint32_t experts = 0;
  std::uint32_t experts_used = 0;
  std::uint32_t embedding = 0;
  std::uint32_t expert_ff = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t vocabulary = 0;
  std::uint32_t context = 0;
  // Of qwen35moe, whose layers are recurrent but every fourth; 0: it is another one.
  std::uint32_t shared_ff = 0;
  std::uint32_t recurrent_key_heads = 0;
  std::uint32_t recurrent_value_heads = 0;
  std::uint32_t recurrent_head_dim = 0;
  SynthLatent latent = {};

  bool recurrent() const { return recurrent_value_heads > 0; }
  bool has_latent() const { return latent.latent_dim > 0; }
  std::string_view architecture() const {
    return has_latent() ? "deepseek2" : recurrent() ? "qwen35moe" : "qwen3moe";
  }
};

// Shapes of public models, and "tiny" for tests.
std::vector<std::string> synth_shape_names();
SynthShape synth_shape(std::string_view name);  // one of the above

// Formats by role. A mix fills all roles; single roles may then be overridden.
struct SynthFormats {
  kernels::WeightFormat dense = kernels::WeightFormat::kQ4_K;
  kernels::WeightFormat expert = kernels::WeightFormat::kQ4_K;
  kernels::WeightFormat output = kernels::WeightFormat::kQ6_K;
  // Of ffn_down_exps, and of attn_v in the layers that a mix gives more bits.
  kernels::WeightFormat down = kernels::WeightFormat::kQ6_K;
  bool more_bits_in_half_the_layers = true;  // else `down` everywhere, and attn_v is dense
};

// "q4_k_m", or a format name for all matrices; either case. Throws Error(kUsage).
SynthFormats synth_mix(std::string_view name);
kernels::WeightFormat parse_format(std::string_view name);

enum class SynthContent {
  kNorm,     // near 1
  kRate,     // of a decay: near -1
  kWeights,  // of the given deviation
  kRouter,   // rows of the given deviation times a gain for each expert
};

struct SynthTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // the first varies fastest
  kernels::WeightFormat format;
  SynthContent content;
  double deviation;

  std::uint64_t values() const;
  Bytes row_bytes() const;  // of shape[0] values
  Bytes bytes() const;
};

// In file order. Throws Error(kUsage) for a shape that is impossible or whose rows are not whole
// blocks of their format.
std::vector<SynthTensor> synth_tensors(const SynthShape& shape, const SynthFormats& formats);

// The keys of the architecture; those of the tokenizer are the vocabulary's.
void set_synth_metadata(const SynthShape& shape, io::GgufWriter& writer);

}  // namespace hearth::tools
