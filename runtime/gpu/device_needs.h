// What blocks need on a device beside the scratch of the host (runtime/scratch.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "runtime/blocks/attention.h"
#include "runtime/blocks/expert_ffn.h"

namespace hearth::runtime {

struct RoutedLayer {
  LayerIndex layer = 0;
  const ExpertFfn* experts = nullptr;
};

struct DeviceNeeds {
  // Each has its factors of the rows of a step in device memory.
  std::vector<QueryStretch> stretches;
  // Of all heads of a row, where each head has a product of its own.
  std::uint32_t product_heads = 0;
  std::uint32_t product_columns = 0;
  bool normed_apart = false;              // parts of a block have norms of their own
  std::uint32_t expert_gate_columns = 0;  // of experts whose gate and up differ in format
  std::vector<RoutedLayer> routed;
  std::uint32_t recurrent_floats = 0;  // of a row, beside its projections
};

}  // namespace hearth::runtime
