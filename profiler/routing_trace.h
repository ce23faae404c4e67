// A recorded sequence of routing decisions, in memory. profiler/trace_file.h has the file format.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "profiler/model_identity.h"
#include "profiler/routing.h"

namespace hearth::profiler {

struct TraceLayer {
  LayerIndex layer = 0;
  std::uint32_t experts = 0;  // that the router chooses from
};

struct TraceHeader {
  ModelIdentity model;
  std::string workload;            // a label of the user's: "code"; no text of prompts is recorded
  std::string origin;              // "recorded", or how it was generated
  std::vector<TraceLayer> layers;  // those with experts, ascending
  std::uint32_t experts_per_row = 0;
  bool has_weights = true;  // else every weight is 1 / experts_per_row

  ExpertSpace space() const { return {model.layers, model.experts_per_layer}; }
  // What contradicts itself, as the end of a sentence.
  std::optional<std::string> flaw() const;
};

// One step is one pass over the layers: one token, or one chunk of a prompt.
struct TraceStep {
  std::uint32_t position = 0;  // of the first row in its sequence; 0 begins a new sequence
  std::uint32_t rows = 0;
};

class RoutingTrace {
 public:
  explicit RoutingTrace(TraceHeader header);  // CHECKs that it has no flaw

  // Decisions are added for all layers of the header, in order, then the next step begins.
  void begin_step(const TraceStep& step);
  void add(const Routing& routing);  // CHECKs the order and the shape

  const TraceHeader& header() const { return header_; }
  std::size_t steps() const { return steps_.size(); }
  const TraceStep& step(std::size_t index) const { return steps_[index]; }
  // The decision of the n-th layer of the header; valid until the trace changes.
  Routing decision(std::size_t step, std::size_t nth_layer) const;
  std::uint64_t rows() const { return rows_; }  // of all steps: tokens

 private:
  TraceHeader header_;
  std::vector<TraceStep> steps_;
  std::vector<std::uint64_t> rows_before_;  // per step
  std::vector<std::uint16_t> experts_;      // [step][layer][row][rank]
  std::vector<float> weights_;              // likewise; empty without weights
  std::vector<float> equal_weights_;        // stands for them then
  std::uint64_t rows_ = 0;
  std::size_t layers_added_ = 0;  // of the last step
};

}  // namespace hearth::profiler
