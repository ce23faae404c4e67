// hearth inspect: what a model file holds.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/engine.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

struct InspectOptions {
  std::string model;
  bool tensors = false;
  bool json = false;
};

std::string size_or_unknown(std::optional<Bytes> size) {
  return size ? format_size(*size) : std::string("unknown");
}

std::string shape_text(const io::GgufTensor& tensor) {
  std::string text;
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : " x ", tensor.shape[i]);
  return text;
}

template <typename... Args>
void row(std::string_view title, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{:<14}{}\n", title, fmt::format(format, std::forward<Args>(args)...));
}

void print_experts(const ModelSummary& summary) {
  if (summary.moe_layers == 0) {
    row("experts", "none");
    return;
  }
  row("experts", "{} x {} layers, {} per token", summary.experts_per_layer, summary.moe_layers,
      summary.experts_used);
  std::string sizes;
  std::uint64_t unknown = summary.moe_layers;
  const auto add = [&](const std::string& size, std::uint64_t layers) {
    sizes += fmt::format("{}{} in {} layer{}", sizes.empty() ? "" : ", ", size, layers,
                         layers == 1 ? "" : "s");
  };
  for (const auto& [size, layers] : summary.expert_sizes) {
    add(format_size(size), layers);
    unknown -= layers;
  }
  if (unknown > 0) add("unknown", unknown);
  row("expert size", "{}", sizes);
  if (!summary.expert_sizes.empty())
    row("largest", "{} bytes", format_grouped(summary.expert_sizes.rbegin()->first.count));
}

void print_summary(const io::GgufFile& file, const ModelSummary& summary) {
  row("file", "{}, {}, GGUF version {}{}", printable(file.name()), format_size(file.file_bytes()),
      file.version(),
      file.paths().size() == 1 ? "" : fmt::format(", {} parts", file.paths().size()));
  if (!file.has_data()) row("note", "the file ends before its weights do");
  row("architecture", "{}{}", printable(summary.architecture),
      summary.name.empty() ? "" : fmt::format(", {}", printable(summary.name)));
  row("parameters", "{}, {} of them active per token", format_count(summary.parameters),
      format_count(summary.active_parameters));
  row("shape", "{} layers, width {}, {} heads, {} KV heads", summary.layers, summary.embedding,
      summary.heads, summary.kv_heads);
  row("dense", "{}", format_size(summary.dense_bytes));
  row("routed", "{}", format_size(summary.expert_bytes));
  print_experts(summary);
  row("KV cache", "{} per token in f16", format_size(summary.kv_bytes_per_token));
  row("context", "{} tokens", format_grouped(summary.context));
  row("tokenizer", "{}, {} tokens, {} chat template", printable(summary.tokenizer),
      format_grouped(summary.vocabulary), summary.has_chat_template ? "with a" : "no");
  for (const auto& [name, use] : summary.formats)
    row(name, "{} tensors, {} values, {}", use.tensors, format_count(use.values),
        size_or_unknown(use.bytes));
}

void print_tensors(const io::GgufFile& file) {
  fmt::print("\n{:<40} {:<8} {:<20} {:>12}  {}\n", "tensor", "format", "shape", "size", "offset");
  for (const io::GgufTensor& tensor : file.tensors())
    fmt::print("{:<40} {:<8} {:<20} {:>12}  {}\n", printable(tensor.name),
               format_name(tensor.type_id), shape_text(tensor), size_or_unknown(tensor.size),
               tensor.offset);
}

using Json = nlohmann::ordered_json;

Json bytes_or_null(std::optional<Bytes> size) { return size ? Json(size->count) : Json(nullptr); }

Json tensor_json(const io::GgufFile& file, const io::GgufTensor& tensor) {
  Json shape = Json::array();
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i) shape.push_back(tensor.shape[i]);
  return {{"name", tensor.name},
          {"format", format_name(tensor.type_id)},
          {"shape", shape},
          {"bytes", bytes_or_null(tensor.size)},
          {"file", file.paths()[tensor.file]},
          {"offset", tensor.offset}};
}

Json summary_json(const io::GgufFile& file, const ModelSummary& summary) {
  Json json = {{"files", file.paths()},
               {"file_bytes", file.file_bytes().count},
               {"has_weights", file.has_data()},
               {"gguf_version", file.version()},
               {"architecture", summary.architecture},
               {"name", summary.name},
               {"parameters", summary.parameters},
               {"active_parameters", summary.active_parameters},
               {"layers", summary.layers},
               {"embedding", summary.embedding},
               {"heads", summary.heads},
               {"kv_heads", summary.kv_heads},
               {"dense_bytes", summary.dense_bytes.count},
               {"expert_bytes", summary.expert_bytes.count},
               {"moe_layers", summary.moe_layers},
               {"experts_per_layer", summary.experts_per_layer},
               {"experts_used", summary.experts_used},
               {"kv_bytes_per_token", summary.kv_bytes_per_token.count},
               {"context", summary.context},
               {"tokenizer", summary.tokenizer},
               {"vocabulary", summary.vocabulary},
               {"chat_template", summary.has_chat_template}};
  Json& sizes = json["expert_sizes"] = Json::array();
  for (const auto& [size, layers] : summary.expert_sizes)
    sizes.push_back({{"bytes", size.count}, {"layers", layers}});
  Json& formats = json["formats"] = Json::object();
  for (const auto& [name, use] : summary.formats)
    formats[name] = {
        {"tensors", use.tensors}, {"values", use.values}, {"bytes", bytes_or_null(use.bytes)}};
  return json;
}

void print_json(const io::GgufFile& file, const ModelSummary& summary, bool with_tensors) {
  Json json = summary_json(file, summary);
  if (with_tensors) {
    Json& tensors = json["tensors"] = Json::array();
    for (const io::GgufTensor& tensor : file.tensors())
      tensors.push_back(tensor_json(file, tensor));
  }
  // Names from a file need not be UTF-8; what is not becomes U+FFFD.
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

int inspect(const Arguments& arguments) {
  InspectOptions options;
  CommandLine line("inspect", "Describe a model file from its header; no weights are read.");
  line.add({.names = "-m,--model,MODEL",
            .value = "FILE",
            .help = "GGUF file, or the first of a split set",
            .required = true},
           options.model);
  line.add({.names = "--tensors", .help = "list every tensor"}, options.tensors);
  line.add({.names = "--json", .help = "print JSON, sizes in bytes"}, options.json);
  if (!line.parse(arguments)) return 0;

  const io::GgufFile file =
      io::GgufFile::open(options.model, runtime::block_shape_of, io::GgufFile::Data::kMayBeMissing);
  const ModelSummary summary = summarize(file);
  if (options.json) {
    print_json(file, summary, options.tensors);
    return 0;
  }
  print_summary(file, summary);
  if (options.tensors) print_tensors(file);
  return 0;
}

}  // namespace hearth::tools
