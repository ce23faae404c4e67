#include "profiler/trace_header_toml.h"

#include <fmt/format.h>

#include "profiler/model_identity_toml.h"
#include "profiler/table_toml.h"

namespace hearth::profiler {
namespace {

constexpr const char* kBf16 = "bf16";
constexpr const char* kNone = "none";

}  // namespace

std::string to_toml(const TraceHeader& header) {
  std::string layers, experts;
  for (const TraceLayer& layer : header.layers) {
    const char* const comma = layers.empty() ? "" : ", ";
    layers += fmt::format("{}{}", comma, layer.layer);
    experts += fmt::format("{}{}", comma, layer.experts);
  }
  return to_toml(header.model) + fmt::format(
                                     "\n[trace]\n"
                                     "workload = {}\n"
                                     "origin = {}\n"
                                     "experts_per_row = {}\n"
                                     "weights = \"{}\"\n"
                                     "layers = [{}]\n"
                                     "experts = [{}]\n",
                                     quoted(header.workload), quoted(header.origin),
                                     header.experts_per_row, header.has_weights ? kBf16 : kNone,
                                     layers, experts);
}

TraceHeader parse_trace_header(std::string_view text, const std::string& name) {
  const toml::table root = parse_toml(text, name);
  TableReader file(root, name);
  TraceHeader header;
  header.model = read_model_identity(file.table("model"));
  TableReader table = file.table("trace");
  header.workload = table.string("workload");
  header.origin = table.string("origin");
  header.experts_per_row = static_cast<std::uint32_t>(table.count("experts_per_row", {1, 0xffff}));
  const std::string weights = table.string("weights");
  if (weights != kBf16 && weights != kNone) table.fail("weights", "is neither bf16 nor none");
  header.has_weights = weights == kBf16;
  const auto layers = table.counts("layers", {0, 0xffff});
  const auto experts = table.counts("experts", {1, 0xffff});
  if (layers.size() != experts.size()) table.fail("experts", "has not as many values as layers");
  for (std::size_t i = 0; i < layers.size(); ++i)
    header.layers.push_back({.layer = static_cast<LayerIndex>(layers[i]),
                             .experts = static_cast<std::uint32_t>(experts[i])});
  table.finish();
  file.finish();
  if (const auto flaw = header.flaw()) table.fail("layers", *flaw);
  return header;
}

}  // namespace hearth::profiler
