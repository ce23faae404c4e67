// The decision of one router for the rows (tokens) of one step.
#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"

namespace hearth::profiler {

struct Routing {
  LayerIndex layer = 0;
  std::uint32_t rows = 0;                  // tokens
  std::uint32_t experts_per_row = 0;       // top-k
  std::span<const std::uint16_t> experts;  // [rows][experts_per_row], by descending score
  std::span<const float> weights;          // likewise; what the expert outputs are multiplied with
  std::uint32_t position = 0;              // of the first row in its sequence
};

// The decision for one of the rows.
inline Routing row_of(const Routing& routing, std::uint32_t row) {
  const std::size_t first = std::size_t{row} * routing.experts_per_row;
  Routing one = routing;
  one.rows = 1;
  one.experts = routing.experts.subspan(first, routing.experts_per_row);
  if (!routing.weights.empty())
    one.weights = routing.weights.subspan(first, routing.experts_per_row);
  one.position += row;
  return one;
}

}  // namespace hearth::profiler
