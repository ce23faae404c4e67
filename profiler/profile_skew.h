// How unevenly routing uses the experts of a layer.
#pragma once

#include <cstdint>
#include <span>

#include "profiler/expert_profile.h"

namespace hearth::profiler {

struct LayerSkew {
  LayerIndex layer = 0;
  std::uint32_t experts = 0;
  std::uint32_t used = 0;             // chosen at least once
  std::uint32_t for_half = 0;         // the fewest experts that get 50 % of the uses
  std::uint32_t for_nine_tenths = 0;  // 90 %: the working set
  double entropy = 0;  // of the choices, 1: all alike. With top-k, at least log(k) / log(experts)
  double gini = 0;     // 0: all alike, near 1: a few experts get everything
  double reused_soon = 0;  // part of the uses less than 8 tokens after the last one of the expert
};

// All zero for a layer without uses.
LayerSkew skew_of(const LayerProfile& layer);

// Of several layers: numbers of experts are sums, the rest are means over the layers with uses.
LayerSkew total_of(std::span<const LayerSkew> layers);

}  // namespace hearth::profiler
