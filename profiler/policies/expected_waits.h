// How long every expert is expected to wait for its next use, and the resident one that waits
// longest.
//
// Time is counted in layers: an expert that is used in a part p of its layer's turns waits for
// (1 / p - 1) passes over all layers, and then until its layer runs in the pass. The longest of
// each layer is remembered, so that a search looks at one expert per layer; a layer is searched
// anew when its expectations change or its longest leaves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "profiler/policies/expert_table.h"
#include "profiler/policies/layer_turns.h"

namespace hearth::profiler {

class ExpectedWaits {
 public:
  explicit ExpectedWaits(const PolicyInput& input)
      : table_(input),
        turns_(table_.layers()),
        resident_class_(table_.size(), kAbsent),
        longest_(std::size_t{table_.size_classes()} * table_.layers(), kNobody),
        passes_(table_.size(), kMostPasses) {}

  const ExpertTable& table() const { return table_; }

  void on_routed(const Routing& routing) { turns_.on_routed(routing); }

  // Of all experts of a layer: the part of its turns that uses each.
  void expect(LayerIndex layer, std::span<const float> uses) {
    CHECK_EQ(uses.size(), std::size_t{table_.experts_per_layer()});
    float* const passes = passes_.data() + table_.flat({layer, 0});
    for (std::size_t i = 0; i < uses.size(); ++i)
      passes[i] = 1 / std::clamp(uses[i], 1 / kMostPasses, 1.0f) - 1;
    for (std::uint8_t size_class = 0; size_class < table_.size_classes(); ++size_class)
      remembered(size_class, layer) = kUnknown;
  }

  void insert(ExpertId id) {
    const std::uint32_t expert = table_.flat(id);
    CHECK_EQ(resident_class_[expert], kAbsent);
    resident_class_[expert] = table_.size_class(expert);
    std::uint32_t& longest = remembered(resident_class_[expert], id.layer);
    if (longest == kUnknown) return;
    if (longest == kNobody || passes_[expert] > passes_[longest]) longest = expert;
  }

  void remove(ExpertId id) {
    const std::uint32_t expert = table_.flat(id);
    CHECK_NE(resident_class_[expert], kAbsent);
    std::uint32_t& longest = remembered(resident_class_[expert], id.layer);
    if (longest == expert) longest = kUnknown;
    resident_class_[expert] = kAbsent;
  }

  bool is_resident(ExpertId id) const { return resident_class_[table_.flat(id)] != kAbsent; }

  // The allowed resident of a size class that waits longest.
  std::optional<ExpertId> longest(std::uint8_t size_class, FunctionRef<bool(ExpertId)> may_evict) {
    CHECK_LT(size_class, table_.size_classes());
    std::uint32_t found = kNobody;
    float longest_wait = -1;
    for (LayerIndex layer = 0; layer < table_.layers(); ++layer) {
      const std::uint32_t first = longest_of_layer(size_class, layer);
      if (first == kNobody || wait(first, layer) <= longest_wait) continue;
      const std::uint32_t best =
          may_evict(table_.id(first)) ? first : longest_allowed(size_class, layer, may_evict);
      if (best == kNobody || wait(best, layer) <= longest_wait) continue;
      found = best;
      longest_wait = wait(best, layer);
    }
    if (found == kNobody) return std::nullopt;
    return table_.id(found);
  }

 private:
  static constexpr float kMostPasses = 1 << 20;  // of an expert that is never used
  static constexpr std::uint8_t kAbsent = std::numeric_limits<std::uint8_t>::max();
  static constexpr std::uint32_t kNobody = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t kUnknown = kNobody - 1;

  float wait(std::uint32_t expert, LayerIndex layer) const {
    return passes_[expert] * static_cast<float>(table_.layers()) +
           static_cast<float>(turns_.layers_until(layer));
  }

  std::uint32_t& remembered(std::uint8_t size_class, LayerIndex layer) {
    return longest_[std::size_t{size_class} * table_.layers() + layer];
  }

  std::uint32_t longest_of_layer(std::uint8_t size_class, LayerIndex layer) {
    std::uint32_t& longest = remembered(size_class, layer);
    if (longest == kUnknown)
      longest = longest_allowed(size_class, layer, [](ExpertId) { return true; });
    return longest;
  }

  template <typename Allowed>
  std::uint32_t longest_allowed(std::uint8_t size_class, LayerIndex layer, Allowed allowed) const {
    std::uint32_t found = kNobody;
    float most = -1;
    const std::uint32_t first = table_.flat({layer, 0});
    for (std::uint32_t expert = first; expert < first + table_.experts_per_layer(); ++expert) {
      if (resident_class_[expert] != size_class || passes_[expert] <= most) continue;
      if (!allowed(table_.id(expert))) continue;
      found = expert;
      most = passes_[expert];
    }
    return found;
  }

  ExpertTable table_;
  LayerTurns turns_;
  std::vector<std::uint8_t> resident_class_;  // kAbsent: not resident
  std::vector<std::uint32_t> longest_;        // [size class][layer], kNobody or kUnknown
  std::vector<float> passes_;                 // expected before the next use
};

}  // namespace hearth::profiler
