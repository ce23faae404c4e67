// Traces of random shape and content, for tests.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "profiler/routing_trace.h"

namespace hearth::profiler::testing {

// Layers need not follow one another, nor have as many experts; some have more than 256.
inline TraceHeader random_header(Random& random) {
  TraceHeader header;
  header.model = {.architecture = "qwen3moe", .name = "random", .formats = "Q4_K 100 %"};
  header.model.experts_used = header.experts_per_row =
      static_cast<std::uint32_t>(1 + random.below(8));
  header.workload = "code";
  header.origin = "recorded";
  header.has_weights = random.below(2) == 0;
  LayerIndex layer = 0;
  for (std::uint64_t n = 1 + random.below(5); n > 0; --n) {
    layer = static_cast<LayerIndex>(layer + random.below(3));
    const auto experts = static_cast<std::uint32_t>(header.experts_per_row +
                                                    random.below(random.below(3) == 0 ? 600 : 40));
    header.layers.push_back({layer++, experts});
    header.model.experts_per_layer = std::max(header.model.experts_per_layer, experts);
  }
  header.model.layers = layer + static_cast<std::uint32_t>(random.below(3));
  return header;
}

// The memory of one decision.
struct OwnedRouting {
  LayerIndex layer = 0;
  TraceStep step;
  std::uint32_t experts_per_row = 0;
  std::vector<std::uint16_t> experts;
  std::vector<float> weights;

  Routing view() const {
    return {layer, step.rows, experts_per_row, experts, weights, step.position};
  }
};

// Distinct experts in each row. Weights that bf16 holds exactly where `exact`.
inline OwnedRouting random_routing(Random& random, const TraceHeader& header,
                                   const TraceLayer& layer, const TraceStep& step, bool exact) {
  OwnedRouting routing{layer.layer, step, header.experts_per_row, {}, {}};
  std::vector<std::uint16_t> all(layer.experts);
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  for (std::uint32_t row = 0; row < step.rows; ++row)
    for (std::uint32_t rank = 0; rank < header.experts_per_row; ++rank) {
      std::swap(all[rank], all[rank + random.below(all.size() - rank)]);
      routing.experts.push_back(all[rank]);
      routing.weights.push_back(exact ? static_cast<float>(1 + random.below(255)) / 256
                                      : static_cast<float>(random.uniform()));
    }
  return routing;
}

inline RoutingTrace random_trace(Random& random, const TraceHeader& header, std::size_t steps) {
  RoutingTrace trace(header);
  std::uint32_t position = 0;
  for (std::size_t s = 0; s < steps; ++s) {
    const TraceStep step{.position = position,
                         .rows = static_cast<std::uint32_t>(1 + random.below(4))};
    position = random.below(5) == 0 ? 0 : position + step.rows;
    trace.begin_step(step);
    for (const TraceLayer& layer : header.layers)
      trace.add(random_routing(random, header, layer, step, true).view());
  }
  return trace;
}

}  // namespace hearth::profiler::testing
