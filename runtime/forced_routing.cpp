#include "runtime/forced_routing.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {
namespace {

void check_shape(const profiler::TraceHeader& header, const Model& model, const std::string& name) {
  const auto refuse = [&](const std::string& difference) {
    throw_error(ErrorCode::kBadInput,
                "{}: {}; give a trace of a model of the same shape, or make one with hearth trace "
                "synth",
                name, difference);
  };
  if (header.experts_per_row != model.config.experts_used)
    refuse(fmt::format("has {} experts for a token where the model uses {}", header.experts_per_row,
                       model.config.experts_used));
  if (header.model.layers != model.experts.layers())
    refuse(fmt::format("is of a model of {} layers, this one has {}", header.model.layers,
                       model.experts.layers()));
  std::vector<std::uint32_t> experts(model.experts.layers());
  for (const profiler::TraceLayer& layer : header.layers) experts[layer.layer] = layer.experts;
  for (LayerIndex layer = 0; layer < experts.size(); ++layer)
    if (experts[layer] != model.experts.layer(layer).count)
      refuse(fmt::format("layer {} has {} experts, in the model {}", layer, experts[layer],
                         model.experts.layer(layer).count));
}

}  // namespace

ForcedRouting::ForcedRouting(profiler::RoutingTrace trace, const Model& model,
                             const std::string& name)
    : trace_(std::move(trace)), nth_(model.experts.layers()) {
  check_shape(trace_.header(), model, name);
  rows_.reserve(trace_.rows());
  for (std::uint32_t step = 0; step < trace_.steps(); ++step)
    for (std::uint32_t row = 0; row < trace_.step(step).rows; ++row) rows_.push_back({step, row});
  for (std::uint32_t nth = 0; nth < header().layers.size(); ++nth)
    nth_[header().layers[nth].layer] = nth;
}

void ForcedRouting::replace(LayerIndex layer, std::uint32_t position,
                            std::span<std::uint16_t> experts, std::span<float> weights) const {
  const std::uint32_t top_k = header().experts_per_row;
  const std::uint64_t count = experts.size() / top_k, first = first_ + position;
  CHECK(first <= rows_.size() && count <= rows_.size() - first);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Row row = rows_[first + i];
    const profiler::Routing decision = trace_.decision(row.step, nth_[layer]);
    CHECK_EQ(decision.layer, layer);
    const std::size_t begin = std::size_t{row.within} * top_k;
    std::ranges::copy(decision.experts.subspan(begin, top_k), experts.begin() + i * top_k);
    std::ranges::copy(decision.weights.subspan(begin, top_k), weights.begin() + i * top_k);
  }
}

}  // namespace hearth::runtime
