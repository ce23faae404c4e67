#include "profiler/routing_trace.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hearth::profiler {

std::optional<std::string> TraceHeader::flaw() const {
  if (layers.empty()) return "names no layer with experts";
  if (experts_per_row == 0) return "has no experts for a row";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const TraceLayer& layer = layers[i];
    if (i > 0 && layers[i - 1].layer >= layer.layer) return "is not in ascending order";
    if (layer.layer >= model.layers) return "names a layer that the model does not have";
    if (layer.experts > model.experts_per_layer) return "gives a layer more experts than the model";
    if (layer.experts < experts_per_row) return "gives a layer fewer experts than a row uses";
  }
  return std::nullopt;
}

RoutingTrace::RoutingTrace(TraceHeader header) : header_(std::move(header)) {
  CHECK_EQ(header_.flaw().value_or(""), "");
}

void RoutingTrace::begin_step(const TraceStep& step) {
  CHECK(steps_.empty() || layers_added_ == header_.layers.size());
  CHECK_GT(step.rows, 0u);
  steps_.push_back(step);
  rows_before_.push_back(rows_);
  rows_ += step.rows;
  layers_added_ = 0;
  if (header_.has_weights) return;
  const std::size_t pairs = std::size_t{step.rows} * header_.experts_per_row;
  if (equal_weights_.size() < pairs)
    equal_weights_.resize(pairs, 1.0f / static_cast<float>(header_.experts_per_row));
}

void RoutingTrace::add(const Routing& routing) {
  CHECK(!steps_.empty());
  CHECK_LT(layers_added_, header_.layers.size());
  const TraceLayer& layer = header_.layers[layers_added_];
  CHECK_EQ(routing.layer, layer.layer);
  CHECK_EQ(routing.rows, steps_.back().rows);
  CHECK_EQ(routing.experts_per_row, header_.experts_per_row);
  CHECK_EQ(routing.experts.size(), std::size_t{routing.rows} * routing.experts_per_row);
  CHECK_LT(*std::max_element(routing.experts.begin(), routing.experts.end()), layer.experts);
  experts_.insert(experts_.end(), routing.experts.begin(), routing.experts.end());
  if (header_.has_weights) {
    CHECK_EQ(routing.weights.size(), routing.experts.size());
    weights_.insert(weights_.end(), routing.weights.begin(), routing.weights.end());
  }
  layers_added_ += 1;
}

Routing RoutingTrace::decision(std::size_t step, std::size_t nth_layer) const {
  CHECK_LT(step, steps_.size());
  CHECK_LT(nth_layer, header_.layers.size());
  const std::size_t rows = steps_[step].rows;
  const std::size_t begin =
      (rows_before_[step] * header_.layers.size() + nth_layer * rows) * header_.experts_per_row;
  const std::size_t pairs = rows * header_.experts_per_row;
  CHECK_LE(begin + pairs, experts_.size());
  return {.layer = header_.layers[nth_layer].layer,
          .rows = steps_[step].rows,
          .experts_per_row = header_.experts_per_row,
          .experts = std::span(experts_).subspan(begin, pairs),
          .weights = header_.has_weights ? std::span(weights_).subspan(begin, pairs)
                                         : std::span(equal_weights_).first(pairs),
          .position = steps_[step].position};
}

}  // namespace hearth::profiler
