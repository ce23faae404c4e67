// How long every expert is expected to wait for its next use, and the resident one that waits
// longest.
//
// Time is counted in layers: an expert that a part p of its layer's turns uses waits for 1 / p - 1
// passes over all layers, and then until its layer runs in the pass. The longest wait of each layer
// is remembered, so that a search looks at one expert per layer; the residents of a layer are
// searched anew when its expectations change or when its longest leaves.
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
        uses_(table_.size()),
        place_(table_.size(), kNowhere),
        group_of_(table_.size()) {
    for (std::uint8_t size_class = 0; size_class < table_.size_classes(); ++size_class) {
      class_ends_.push_back(groups_.size());
      for (LayerIndex layer = 0; layer < table_.layers(); ++layer) add_group(size_class, layer);
      class_ends_.back() = groups_.size();
    }
  }

  // The expected uses per turn of a layer's experts, [experts_per_layer], to be brought up to date
  // in its turn.
  std::span<float> uses(LayerIndex layer) {
    return std::span(uses_).subspan(table_.flat({layer, 0}), table_.experts_per_layer());
  }
  // This layer runs now, and its expectations change.
  void on_routed(const Routing& routing) {
    turns_.on_routed(routing);
    for (Group& group : groups_)
      if (group.layer == routing.layer) group.longest = kUnknown;
  }

  bool contains(ExpertId id) const { return place_[table_.flat(id)] != kNowhere; }

  void insert(ExpertId id) {
    CHECK(!contains(id));
    const std::uint32_t expert = table_.flat(id);
    CHECK(table_.exists(expert));
    Group& group = groups_[group_of_[expert]];
    place_[expert] = group.first + group.residents++;
    residents_[place_[expert]] = expert;
    if (group.longest == kUnknown) return;
    if (group.longest == kNobody || comes_before(expert, group.longest)) remember(group, expert);
  }

  void remove(ExpertId id) {
    CHECK(contains(id));
    const std::uint32_t expert = table_.flat(id);
    Group& group = groups_[group_of_[expert]];
    const std::uint32_t last = residents_[group.first + --group.residents];
    residents_[place_[expert]] = last;
    place_[last] = place_[expert];
    place_[expert] = kNowhere;
    if (group.longest == expert) group.longest = kUnknown;
  }

  // The allowed resident of a size class that waits longest; of equals the one of the lowest layer
  // and number.
  std::optional<ExpertId> longest(std::uint8_t size_class, FunctionRef<bool(ExpertId)> may_evict) {
    CHECK_LT(size_class, table_.size_classes());
    std::uint32_t found = kNobody;
    float longest = -1;
    const std::size_t begin = size_class == 0 ? 0 : class_ends_[size_class - 1u];
    for (std::size_t i = begin; i < class_ends_[size_class]; ++i) {
      Group& group = groups_[i];
      if (group.longest == kUnknown) refresh(group);
      if (group.longest == kNobody || wait(group, group.passes) <= longest) continue;
      std::uint32_t expert = group.longest;
      if (!may_evict(table_.id(expert))) expert = least_used(group, may_evict);
      if (expert == kNobody || wait(group, passes(expert)) <= longest) continue;
      found = expert;
      longest = wait(group, passes(expert));
    }
    if (found == kNobody) return std::nullopt;
    return table_.id(found);
  }

 private:
  static constexpr std::uint32_t kNobody = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t kUnknown = kNobody - 1;
  static constexpr std::uint32_t kNowhere = kNobody;
  static constexpr float kFewestUses = 0x1p-20f;  // stands for never

  // The experts of one layer and size class.
  struct Group {
    LayerIndex layer = 0;
    std::uint32_t first = 0;  // of its part of residents_
    std::uint32_t residents = 0;
    std::uint32_t longest = kNobody;
    float passes = 0;  // of the longest
  };

  void add_group(std::uint8_t size_class, LayerIndex layer) {
    const auto first = static_cast<std::uint32_t>(residents_.size());
    const std::uint32_t begin = table_.flat({layer, 0});
    for (std::uint32_t expert = begin; expert < begin + table_.experts_per_layer(); ++expert) {
      if (!table_.exists(expert) || table_.size_class(expert) != size_class) continue;
      group_of_[expert] = static_cast<std::uint32_t>(groups_.size());
      residents_.push_back(kNobody);
    }
    if (first < residents_.size()) groups_.push_back({.layer = layer, .first = first});
  }

  // In layers, without the part of the pass that follows.
  float passes(std::uint32_t expert) const {
    const auto layers = static_cast<float>(table_.layers());
    return layers / std::clamp(uses_[expert], kFewestUses, 1.0f) - layers;
  }
  float wait(const Group& group, float passes) const {
    return passes + static_cast<float>(turns_.layers_until(group.layer));
  }

  void refresh(Group& group) const {
    remember(group, least_used(group, [](ExpertId) { return true; }));
  }
  void remember(Group& group, std::uint32_t longest) const {
    group.longest = longest;
    if (longest != kNobody) group.passes = passes(longest);
  }

  template <typename Allowed>
  std::uint32_t least_used(const Group& group, Allowed allowed) const {
    std::uint32_t found = kNobody;
    for (std::uint32_t i = group.first; i < group.first + group.residents; ++i) {
      const std::uint32_t expert = residents_[i];
      if (found != kNobody && !comes_before(expert, found)) continue;
      if (allowed(table_.id(expert))) found = expert;
    }
    return found;
  }
  bool comes_before(std::uint32_t a, std::uint32_t b) const {
    return uses_[a] < uses_[b] || (uses_[a] == uses_[b] && a < b);
  }

  ExpertTable table_;
  LayerTurns turns_;
  std::vector<float> uses_;               // expected, per turn
  std::vector<std::uint32_t> residents_;  // of every group, at the front of its part
  std::vector<std::uint32_t> place_;      // in residents_, or kNowhere
  std::vector<std::uint32_t> group_of_;
  std::vector<Group> groups_;            // by size class, then by layer
  std::vector<std::size_t> class_ends_;  // in groups_
};

}  // namespace hearth::profiler
