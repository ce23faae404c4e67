// hearth trace show: what a trace file holds.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "profiler/trace_file.h"
#include "profiler/trace_locality.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/trace_verbs.h"

namespace hearth::tools {
namespace {

using profiler::LayerLocality;
using profiler::RoutingTrace;
using profiler::TraceHeader;
using profiler::TraceLocality;
using profiler::TraceReadResult;

constexpr std::uint32_t kSoon = 8;  // tokens

// Tokens that came in steps of several are those of prompts.
struct Tokens {
  std::uint64_t decoded = 0;
  std::uint64_t in_chunks = 0;
  std::uint64_t sequences = 0;
  std::uint32_t longest_step = 0;
};

Tokens count_tokens(const RoutingTrace& trace) {
  Tokens tokens;
  for (std::size_t s = 0; s < trace.steps(); ++s) {
    const profiler::TraceStep& step = trace.step(s);
    (step.rows == 1 ? tokens.decoded : tokens.in_chunks) += step.rows;
    tokens.sequences += step.position == 0 ? 1 : 0;
    tokens.longest_step = std::max(tokens.longest_step, step.rows);
  }
  return tokens;
}

template <typename... Args>
void row(std::string_view title, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{:<14}{}\n", title, fmt::format(format, std::forward<Args>(args)...));
}

// "128", or "64 to 128" where layers differ.
std::string expert_counts(const TraceHeader& header) {
  const auto [least, most] =
      std::minmax_element(header.layers.begin(), header.layers.end(),
                          [](const auto& a, const auto& b) { return a.experts < b.experts; });
  return least->experts == most->experts ? fmt::format("{}", most->experts)
                                         : fmt::format("{} to {}", least->experts, most->experts);
}

void print_header(const std::string& path, const TraceReadResult& read) {
  const TraceHeader& header = read.trace.header();
  row("file", "{}, {}", printable(path), format_size(Bytes(read.bytes)));
  row("model", "{}{}{}", printable(header.model.architecture),
      header.model.name.empty() ? "" : ", " + printable(header.model.name),
      header.model.formats.empty() ? "" : ", experts in " + printable(header.model.formats));
  row("experts", "{} x {} layers, {} per token", expert_counts(header), header.layers.size(),
      header.experts_per_row);
  row("workload", "{}", printable(header.workload));
  row("origin", "{}", printable(header.origin));
  row("weights", "{}", header.has_weights ? "bf16" : "none");
  if (read.incomplete_bytes > 0)
    row("end", "{} of a step that is cut off, or still being written",
        format_size(Bytes(read.incomplete_bytes)));
  else
    row("end", "complete");
}

void print_tokens(const RoutingTrace& trace) {
  const Tokens tokens = count_tokens(trace);
  row("tokens", "{} in {} sequence{}: {} in steps of up to {}, {} one by one",
      format_grouped(trace.rows()), format_grouped(tokens.sequences),
      tokens.sequences == 1 ? "" : "s", format_grouped(tokens.in_chunks), tokens.longest_step,
      format_grouped(tokens.decoded));
}

void print_locality(const TraceLocality& locality) {
  row("repeats",
      "{:.1f} % of a token's experts were used by the token before, {:.1f} % by one of the last {}",
      100 * locality.reused_within(1), 100 * locality.reused_within(kSoon), kSoon);
  row("distinct", "{:.1f} experts of a layer were used", locality.mean_touched());
}

void print_layers(const TraceLocality& locality) {
  fmt::print("\n{:<7}{:>9}{:>7}{:>14}{:>14}\n", "layer", "experts", "used", "token before",
             fmt::format("within {}", kSoon));
  for (const LayerLocality& layer : locality.layers) {
    const TraceLocality alone{.layers = {layer}};
    fmt::print("{:<7}{:>9}{:>7}{:>12.1f} %{:>12.1f} %\n", layer.layer, layer.uses.size(),
               layer.touched(), 100 * alone.reused_within(1), 100 * alone.reused_within(kSoon));
  }
}

void print_json(const TraceReadResult& read) {
  using Json = nlohmann::ordered_json;
  const TraceHeader& header = read.trace.header();
  const Tokens tokens = count_tokens(read.trace);
  Json json = {{"architecture", header.model.architecture},
               {"name", header.model.name},
               {"formats", header.model.formats},
               {"workload", header.workload},
               {"origin", header.origin},
               {"experts_per_token", header.experts_per_row},
               {"weights", header.has_weights},
               {"bytes", read.bytes},
               {"incomplete_bytes", read.incomplete_bytes},
               {"tokens", read.trace.rows()},
               {"decoded_tokens", tokens.decoded},
               {"steps", read.trace.steps()},
               {"sequences", tokens.sequences}};
  const TraceLocality locality = profiler::measure_locality(read.trace);
  Json& layers = json["layers"] = Json::array();
  for (const LayerLocality& layer : locality.layers) {
    const TraceLocality alone{.layers = {layer}};
    layers.push_back({{"layer", layer.layer},
                      {"experts", layer.uses.size()},
                      {"used", layer.touched()},
                      {"repeated", alone.reused_within(1)},
                      {"repeated_within_8", alone.reused_within(kSoon)}});
  }
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

int trace_show(const Arguments& arguments) {
  std::string path;
  bool json = false;
  CommandLine line("trace show",
                   "Describe a trace: whose routing it is, how much of it there is, and how much "
                   "of it repeats.");
  line.add({.names = "--trace,TRACE", .value = "FILE", .help = "routing trace", .required = true},
           path);
  line.add({.names = "--json", .help = "print JSON"}, json);
  if (!line.parse(arguments)) return 0;
  const TraceReadResult read = profiler::read_trace(path);
  if (json) {
    print_json(read);
    return 0;
  }
  print_header(path, read);
  print_tokens(read.trace);
  if (read.trace.rows() == 0) return 0;
  const TraceLocality locality = profiler::measure_locality(read.trace);
  print_locality(locality);
  print_layers(locality);
  return 0;
}

}  // namespace hearth::tools
