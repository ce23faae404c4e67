#include "tools/hearth/model_summary.h"

#include <charconv>
#include <string_view>

#include "base/error.h"
#include "kernels/weight_format.h"
#include "runtime/engine.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

// "blk.12.ffn_up_exps.weight" → 12; empty for tensors outside the layers.
std::optional<std::uint64_t> layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::uint64_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.') return std::nullopt;
  return layer;
}

bool is_routed_expert(const io::GgufTensor& tensor) {
  return tensor.name.find("_exps.") != tensor.name.npos && tensor.dimensions >= 1;
}

void count_format(const io::GgufTensor& tensor, ModelSummary& summary) {
  FormatUse& use = summary.formats[format_name(tensor.type_id)];
  use.tensors += 1;
  use.values += tensor.elements();
  if (tensor.size && use.bytes)
    *use.bytes += *tensor.size;
  else
    use.bytes.reset();
}

// Values that the cache keeps for one token in the layer of `tensor`, as far as this tensor says:
// the rows of the projection that makes keys or values, or both where there is no other (gemma4).
// With latent attention (deepseek2) the one compressed row is both.
std::uint64_t cached_values(const io::GgufFile& file, const io::GgufTensor& tensor) {
  constexpr std::string_view kKeys = ".attn_k.weight", kValues = ".attn_v.weight";
  const std::string_view name = tensor.name;
  if (name.ends_with(kKeys)) {
    const std::string layer(name.substr(0, name.size() - kKeys.size()));
    return tensor.shape[1] * (file.find(layer + std::string(kValues)) == nullptr ? 2 : 1);
  }
  const bool counts = name.ends_with(kValues) || name.ends_with(".attn_kv_a_mqa.weight");
  return counts ? tensor.shape[1] : 0;
}

void read_metadata(const io::GgufMetadata& metadata, ModelSummary& summary) {
  const auto text = [&](std::string_view key) { return metadata.string(key).value_or(""); };
  const auto number = [&](std::string_view key) {
    return metadata.unsigned_integer(fmt::format("{}.{}", summary.architecture, key), 0)
        .value_or(0);
  };
  summary.architecture = text("general.architecture");
  summary.name = text("general.name");
  summary.layers = number("block_count");
  summary.context = number("context_length");
  summary.embedding = number("embedding_length");
  summary.heads = number("attention.head_count");
  summary.kv_heads = number("attention.head_count_kv");
  summary.experts_used = number("expert_used_count");
  summary.tokenizer = text("tokenizer.ggml.model");
  if (const auto pre = metadata.string("tokenizer.ggml.pre"))
    summary.tokenizer += fmt::format(" ({})", *pre);
  if (const auto* tokens = metadata.strings("tokenizer.ggml.tokens"))
    summary.vocabulary = tokens->size();
  summary.has_chat_template = metadata.has("tokenizer.chat_template");
}

}  // namespace

io::GgufFile open_model_file(const std::string& path) {
  return io::GgufFile::open(path, runtime::block_shape_of);
}

std::string format_name(std::uint32_t gguf_type) {
  const auto format = kernels::format_of_gguf_type(gguf_type);
  return format ? std::string(kernels::traits(*format).name) : fmt::format("type {}", gguf_type);
}

ModelSummary summarize(const io::GgufFile& file) {
  ModelSummary summary;
  read_metadata(file.metadata(), summary);
  std::uint64_t routed_parameters = 0;
  std::map<std::uint64_t, std::optional<Bytes>> expert_size_of_layer;
  std::uint64_t kv_values = 0;
  for (const io::GgufTensor& tensor : file.tensors()) {
    count_format(tensor, summary);
    summary.parameters += tensor.elements();
    kv_values += cached_values(file, tensor);
    const Bytes size = tensor.size.value_or(Bytes(0));
    const auto layer = layer_of(tensor.name);
    if (!layer || !is_routed_expert(tensor)) {
      summary.dense_bytes += size;
      continue;
    }
    const std::uint64_t experts = tensor.shape[tensor.dimensions - 1];
    summary.expert_bytes += size;
    summary.experts_per_layer = std::max(summary.experts_per_layer, experts);
    auto& expert_size = expert_size_of_layer.try_emplace(*layer, Bytes(0)).first->second;
    if (tensor.size && expert_size)
      *expert_size += Bytes(size.count / experts);
    else
      expert_size.reset();
    routed_parameters += tensor.elements();
  }
  summary.moe_layers = expert_size_of_layer.size();
  for (const auto& [layer, size] : expert_size_of_layer)
    if (size) ++summary.expert_sizes[*size];
  summary.kv_bytes_per_token = Bytes(kv_values * sizeof(std::uint16_t));
  summary.active_parameters = summary.parameters - routed_parameters;
  if (summary.experts_per_layer > 0)
    summary.active_parameters +=
        routed_parameters / summary.experts_per_layer * summary.experts_used;
  return summary;
}

std::string model_type(const ModelSummary& summary) {
  std::string most;
  Bytes bytes;
  for (const auto& [name, use] : summary.formats)
    if (use.bytes && *use.bytes > bytes) most = name, bytes = *use.bytes;
  return fmt::format("{} {} {}", printable(summary.architecture), format_count(summary.parameters),
                     most);
}

}  // namespace hearth::tools
