// Which weight format each tensor of a synthetic model has, by its name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/weight_format.h"

namespace hearth::tools {

// Formats by role. A mix fills all roles; single roles may then be overridden.
struct SynthFormats {
  kernels::WeightFormat dense = kernels::WeightFormat::kQ4_K;
  kernels::WeightFormat expert = kernels::WeightFormat::kQ4_K;
  kernels::WeightFormat output = kernels::WeightFormat::kQ6_K;
  // Of ffn_down and attn_v in the layers that a mix gives more bits, else of ffn_down_exps.
  kernels::WeightFormat down = kernels::WeightFormat::kQ6_K;
  // What else llama.cpp's Q4_K_M does: more bits in half of the layers, for fused projections, and
  // in attention beside eight experts.
  bool more_bits = true;
  // And another format for rows that are no whole blocks, where a flag did not name it.
  bool substitutes = true;
};

// "q4_k_m", "mxfp4_moe" (experts in MXFP4, all else in Q8_0), or a format name for all matrices;
// either case. Throws Error(kUsage).
SynthFormats synth_mix(std::string_view name);
kernels::WeightFormat parse_format(std::string_view name);

struct SynthTensorRole {
  std::string_view name;               // with "blk.<layer>."
  std::optional<std::uint32_t> layer;  // empty: none
  std::uint32_t layers = 0;
  std::uint32_t experts = 0;
  std::uint32_t dimensions = 0;
  std::uint64_t columns = 0;
  bool is_output = false;  // also the embedding, where it is used for the output
};

// Throws Error(kUsage) where rows are no whole blocks of the format that was asked for.
kernels::WeightFormat format_of(const SynthFormats& formats, const SynthTensorRole& tensor);

}  // namespace hearth::tools
