// Names for the things every folder talks about.
#pragma once

#include <compare>
#include <cstdint>

namespace hearth {

using TokenId = std::int32_t;
using LayerIndex = std::uint16_t;  // position of a block in the file, 0-based, MoE or not

// One routed expert of the model.
struct ExpertId {
  LayerIndex layer = 0;
  std::uint16_t index = 0;  // within its layer
  auto operator<=>(const ExpertId&) const = default;
};

// Dense numbering of all experts, layer-major, for tables indexed by expert.
struct ExpertSpace {
  std::uint32_t layers = 0;             // every block of the model, also those without experts
  std::uint32_t experts_per_layer = 0;  // the largest count of any layer

  constexpr std::uint32_t size() const { return layers * experts_per_layer; }
  constexpr std::uint32_t flat(ExpertId id) const {
    return id.layer * experts_per_layer + id.index;
  }
  constexpr ExpertId id(std::uint32_t flat) const {
    return {static_cast<LayerIndex>(flat / experts_per_layer),
            static_cast<std::uint16_t>(flat % experts_per_layer)};
  }
  constexpr bool contains(ExpertId id) const {
    return id.layer < layers && id.index < experts_per_layer;
  }
};

}  // namespace hearth
