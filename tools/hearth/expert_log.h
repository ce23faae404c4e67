// Which experts a router chose for every token, as JSON: the form of the reference files in
// tests/golden, so that the same script reads both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "profiler/routing.h"
#include "runtime/model_config.h"

namespace hearth::tools {

// Attached to a session as its routing listener.
class ExpertLog {
 public:
  explicit ExpertLog(const runtime::ModelConfig& config)
      : config_(config), layers_(config.layers) {}

  void add(const profiler::Routing& routing);
  // {"n_expert", "n_expert_used", "layers", "order", "experts_used_per_layer": distinct ones,
  //  "ids": {layer: [tokens][top-k]}, "weights": likewise}
  std::string json() const;

 private:
  struct Layer {
    std::vector<std::vector<std::uint16_t>> ids;
    std::vector<std::vector<float>> weights;
  };
  const runtime::ModelConfig& config_;
  std::vector<Layer> layers_;
};

}  // namespace hearth::tools
