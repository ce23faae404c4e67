#include "tools/hearth/token_by_token.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hearth::tools {

TokenByToken::TokenByToken(const profiler::TraceHeader& header, Sink sink)
    : experts_per_row_(header.experts_per_row), sink_(std::move(sink)) {
  for (const profiler::TraceLayer& layer : header.layers)
    layers_.push_back({.index = layer.layer, .experts = {}, .weights = {}});
}

void TokenByToken::add(const profiler::Routing& routing) {
  CHECK_EQ(routing.experts_per_row, experts_per_row_);
  const auto layer = std::find_if(layers_.begin(), layers_.end(),
                                  [&](const Layer& one) { return one.index == routing.layer; });
  CHECK(layer != layers_.end());
  layer->experts.assign(routing.experts.begin(), routing.experts.end());
  layer->weights.assign(routing.weights.begin(), routing.weights.end());
  if (layer == layers_.end() - 1) hand_out(routing.rows, routing.position);
}

void TokenByToken::hand_out(std::uint32_t rows, std::uint32_t position) {
  for (std::uint32_t row = 0; row < rows; ++row)
    for (const Layer& layer : layers_) {
      const std::size_t begin = std::size_t{row} * experts_per_row_;
      CHECK_LE(begin + experts_per_row_, layer.experts.size());
      sink_({.layer = layer.index,
             .rows = 1,
             .experts_per_row = experts_per_row_,
             .experts = std::span(layer.experts).subspan(begin, experts_per_row_),
             .weights = std::span(layer.weights).subspan(begin, experts_per_row_),
             .position = position + row});
    }
}

}  // namespace hearth::tools
