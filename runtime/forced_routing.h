// Experts taken from a trace instead of the routers, token by token, to measure what some routing
// costs: recorded elsewhere, or made for the purpose. The routers are computed all the same, so
// that their cost is there; the answer is that of no model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "profiler/routing_trace.h"
#include "runtime/model.h"

namespace hearth::runtime {

class ForcedRouting {
 public:
  // Throws Error(kBadInput) unless the trace has the layers, experts and top-k of the model; which
  // model it is of does not matter. `name` appears in messages.
  ForcedRouting(profiler::RoutingTrace trace, const Model& model, const std::string& name);

  std::uint64_t rows() const { return rows_.size(); }  // tokens
  const profiler::TraceHeader& header() const { return trace_.header(); }

  // The token at `position` is the trace's row `row` from now on, whatever the steps of the trace;
  // none before it is asked for.
  void begin_at(std::uint64_t row, std::uint32_t position = 0) { first_ = row - position; }
  // Overwrites the decision for tokens from `position` on: [rows][top-k].
  void replace(LayerIndex layer, std::uint32_t position, std::span<std::uint16_t> experts,
               std::span<float> weights) const;

 private:
  struct Row {
    std::uint32_t step = 0;
    std::uint32_t within = 0;
  };

  profiler::RoutingTrace trace_;
  std::vector<Row> rows_;
  std::vector<std::uint32_t> nth_;  // of a layer, among those of the trace
  std::uint64_t first_ = 0;         // row of position 0, modulo 2^64: there may be none
};

}  // namespace hearth::runtime
