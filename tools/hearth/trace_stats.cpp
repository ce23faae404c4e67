// hearth trace stats: how local the routing in a trace is.
#include <algorithm>
#include <cmath>
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
using profiler::TraceLocality;

constexpr double kShares[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.75};

std::uint32_t part_of(std::size_t experts, double share) {
  return static_cast<std::uint32_t>(std::lround(share * static_cast<double>(experts)));
}

// Of all layers, each with a cache of its own that holds this share of its experts.
template <typename Rate>
double mean_at(const TraceLocality& locality, double share, Rate rate) {
  double sum = 0;
  for (const LayerLocality& layer : locality.layers)
    sum += rate(layer, part_of(layer.uses.size(), share));
  return sum / static_cast<double>(locality.layers.size());
}

double lru_at(const LayerLocality& layer, std::uint32_t slots) { return layer.lru_hit_rate(slots); }
double hot_at(const LayerLocality& layer, std::uint32_t slots) { return layer.covered(slots); }

void print_overview(const TraceLocality& locality) {
  fmt::print("experts of a token used again\n");
  for (const std::uint32_t tokens : {1u, 2u, 4u, 8u, 16u, 64u})
    fmt::print("  within {:>2} token{}  {:5.1f} %\n", tokens, tokens == 1 ? " " : "s",
               100 * locality.reused_within(tokens));
  fmt::print("\n{:<16}{:>14}{:>14}\n", "share of experts", "LRU by layer", "hottest");
  for (const double share : kShares)
    fmt::print("{:>14.0f} % {:>12.1f} % {:>11.1f} %\n", 100 * share,
               100 * mean_at(locality, share, lru_at), 100 * mean_at(locality, share, hot_at));
  fmt::print("\n90 % of the uses go to {:.0f} experts of a layer; {:.0f} are used at all\n",
             locality.experts_covering(0.9), locality.mean_touched());
}

void print_layers(const TraceLocality& locality) {
  fmt::print("\n{:<7}{:>8}{:>8}{:>12}{:>12}{:>12}{:>12}\n", "layer", "experts", "used", "for 90 %",
             "next token", "LRU 25 %", "LRU 50 %");
  for (const LayerLocality& layer : locality.layers) {
    const std::size_t experts = layer.uses.size();
    const double total = static_cast<double>(std::max<std::uint64_t>(layer.total, 1));
    fmt::print("{:<7}{:>8}{:>8}{:>12}{:>10.1f} %{:>10.1f} %{:>10.1f} %\n", layer.layer, experts,
               layer.touched(), layer.experts_covering(0.9),
               100 * static_cast<double>(layer.reused_after[0]) / total,
               100 * layer.lru_hit_rate(part_of(experts, 0.25)),
               100 * layer.lru_hit_rate(part_of(experts, 0.5)));
  }
}

void print_json(const profiler::RoutingTrace& trace, const TraceLocality& locality) {
  using Json = nlohmann::ordered_json;
  Json json = {{"tokens", trace.rows()}, {"experts_per_token", trace.header().experts_per_row}};
  for (const std::uint32_t tokens : {1u, 2u, 4u, 8u, 16u, 32u, 64u})
    json["reused_within"][std::to_string(tokens)] = locality.reused_within(tokens);
  Json& layers = json["layers"] = Json::array();
  for (const LayerLocality& layer : locality.layers) {
    Json lru = Json::array();
    for (std::uint32_t slots = 1; slots <= layer.uses.size(); ++slots)
      lru.push_back(layer.lru_hit_rate(slots));
    layers.push_back({{"layer", layer.layer},
                      {"uses", layer.uses},
                      {"experts_for_90_percent", layer.experts_covering(0.9)},
                      {"lru_hit_rate", lru}});
  }
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

int trace_stats(const Arguments& arguments) {
  std::string path;
  bool json = false;
  CommandLine line("trace stats",
                   "How soon the experts of a trace are used again, how many carry the load, and "
                   "what a recency cache of each layer's own would hit.");
  line.add({.names = "--trace,TRACE", .value = "FILE", .help = "routing trace", .required = true},
           path);
  line.add({.names = "--json", .help = "everything, for programs"}, json);
  if (!line.parse(arguments)) return 0;
  const profiler::RoutingTrace trace = profiler::read_trace(path).trace;
  if (trace.rows() == 0)
    throw_error(ErrorCode::kBadInput, "{}: holds no complete step", printable(path));
  const TraceLocality locality = profiler::measure_locality(trace);
  if (json) {
    print_json(trace, locality);
    return 0;
  }
  fmt::print("{}: {} tokens, {} layers, {} experts of which {} are used\n\n", printable(path),
             format_grouped(trace.rows()), trace.header().layers.size(),
             trace.header().model.experts_per_layer, trace.header().experts_per_row);
  print_overview(locality);
  print_layers(locality);
  return 0;
}

}  // namespace hearth::tools
