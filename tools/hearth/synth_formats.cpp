#include "tools/hearth/synth_formats.h"

#include "base/error.h"

namespace hearth::tools {
namespace {

using kernels::WeightFormat;

// The layers that llama.cpp's Q4_K_M gives more bits: the first and the last eighth, and every
// third between.
bool has_more_bits(std::uint32_t layer, std::uint32_t layers) {
  const std::uint32_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

// What is never quantized: vectors, what is no weight, routers and convolutions.
bool is_float(const SynthTensorRole& t) {
  return t.dimensions < 2 || !t.name.ends_with(".weight") ||
         t.name.ends_with(".ffn_gate_inp.weight") || t.name.ends_with(".ssm_conv1d.weight");
}

bool is_expert(const SynthTensorRole& t) { return t.name.find("_exps.") != t.name.npos; }

WeightFormat wanted(const SynthFormats& f, const SynthTensorRole& t) {
  const auto is = [&](std::string_view part) { return t.name.find(part) != t.name.npos; };
  const bool expert = is_expert(t);
  if (t.is_output) return f.output;
  const bool more = f.more_bits && t.layer && has_more_bits(*t.layer, t.layers);
  if (is(".ffn_down")) {
    if (more || (expert && !f.more_bits)) return f.down;
    return expert ? f.expert : f.dense;
  }
  if (expert) return f.expert;
  if (!f.more_bits) return f.dense;
  if (is(".attn_qkv.")) return WeightFormat::kQ5_K;
  if (t.experts == 8 && (is(".attn_k.") || is(".attn_v."))) return WeightFormat::kQ8_0;
  if (t.experts == 8 && is(".attn_output.")) return WeightFormat::kQ5_K;
  return more && is(".attn_v.") ? f.down : f.dense;
}

// Formats in blocks of 256 have substitutes in blocks of 32, which need somewhat more bits.
WeightFormat substitute(WeightFormat format) {
  switch (format) {
    case WeightFormat::kQ4_K:
      return WeightFormat::kQ5_0;
    case WeightFormat::kQ5_K:
      return WeightFormat::kQ5_1;
    case WeightFormat::kQ6_K:
      return WeightFormat::kQ8_0;
    default:
      return format;
  }
}

std::optional<WeightFormat> find_format(std::string_view name) {
  std::string upper;
  for (const char c : name) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return kernels::format_of_name(upper);
}

std::string all_formats() {
  std::string all;
  for (const kernels::WeightFormatTraits& row : kernels::kWeightFormats)
    all += fmt::format("{}{}", all.empty() ? "" : ", ", row.name);
  return all;
}

}  // namespace

WeightFormat parse_format(std::string_view name) {
  if (const auto format = find_format(name)) return *format;
  throw_error(ErrorCode::kUsage, "unknown weight format '{}'; known are {}", printable(name),
              all_formats());
}

SynthFormats synth_mix(std::string_view name) {
  if (name == "q4_k_m" || name == "Q4_K_M") return {};
  if (name == "mxfp4_moe" || name == "MXFP4_MOE")
    return {.dense = WeightFormat::kQ8_0,
            .expert = WeightFormat::kMXFP4,
            .output = WeightFormat::kQ8_0,
            .down = WeightFormat::kMXFP4,
            .more_bits = false,
            .substitutes = false};
  if (const auto format = find_format(name))
    return {*format, *format, *format, *format, false, false};
  throw_error(ErrorCode::kUsage, "unknown mix '{}'; known are q4_k_m, mxfp4_moe, and one of {}",
              printable(name), all_formats());
}

WeightFormat format_of(const SynthFormats& formats, const SynthTensorRole& tensor) {
  if (is_float(tensor)) return WeightFormat::kF32;
  const auto whole = [&](WeightFormat format) {
    return tensor.columns % kernels::traits(format).values_per_block == 0;
  };
  WeightFormat format = wanted(formats, tensor);
  const bool named = is_expert(tensor) && !formats.more_bits;
  if (formats.substitutes && !named && !whole(format)) format = substitute(format);
  if (!whole(format))
    throw_error(ErrorCode::kUsage,
                "{}: rows of {} values are not whole {} blocks of {}; choose another format",
                tensor.name, tensor.columns, kernels::traits(format).name,
                kernels::traits(format).values_per_block);
  return format;
}

}  // namespace hearth::tools
