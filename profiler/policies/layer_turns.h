// Where decoding is in its cycle through the layers.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "profiler/routing.h"

namespace hearth::profiler {

class LayerTurns {
 public:
  explicit LayerTurns(std::uint32_t layers) : turns_(layers) {}

  // True when a pass over the layers begins: this layer does not follow its predecessor.
  bool on_routed(const Routing& routing) {
    CHECK_LT(routing.layer, turns_.size());
    ++turns_[routing.layer];
    return std::exchange(running_, routing.layer) >= routing.layer;
  }

  // Routing decisions of a layer so far.
  std::uint64_t turns(LayerIndex layer) const { return turns_[layer]; }
  // Its turn in this pass is over, or now.
  bool had_turn(LayerIndex layer) const { return layer <= running_; }
  // Layers that run before this one does; most for the one that runs now.
  std::uint32_t layers_until(LayerIndex layer) const {
    const auto layers = static_cast<std::int32_t>(turns_.size());
    const std::int32_t ahead = layer - running_ - 1;
    return static_cast<std::uint32_t>(ahead >= 0 ? ahead : ahead + layers);
  }

 private:
  std::vector<std::uint64_t> turns_;  // per layer
  std::int32_t running_ = -1;
};

}  // namespace hearth::profiler
