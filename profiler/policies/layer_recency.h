// The resident experts of every layer by recency, and how many turns of their layer passed since
// their last use. What a policy adds is the worth of one layer's oldest against another's.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "profiler/policies/expert_table.h"
#include "profiler/policies/layer_turns.h"
#include "profiler/policies/recency_lists.h"

namespace hearth::profiler {

class LayerRecency {
 public:
  explicit LayerRecency(const PolicyInput& input)
      : table_(input),
        turns_(table_.layers()),
        lists_(table_.size(), table_.size_classes() * table_.layers()),
        used_at_(table_.size()) {}

  const LayerTurns& turns() const { return turns_; }
  std::uint32_t layers() const { return table_.layers(); }

  void on_routed(const Routing& routing) { turns_.on_routed(routing); }

  void insert(ExpertId id) {
    const std::uint32_t expert = table_.flat(id);
    used_at_[expert] = turns_.turns(id.layer);
    lists_.push_newest(list_of(table_.size_class(expert), id.layer), expert);
  }
  void remove(ExpertId id) { lists_.remove(table_.flat(id)); }

  // The allowed resident of a size class with the highest rank(layer, turns missed), which must not
  // fall with the turns missed: then only the oldest of each layer matter. Of equals the one of the
  // lowest layer.
  template <typename Rank>
  std::optional<ExpertId> highest(std::uint8_t size_class, FunctionRef<bool(ExpertId)> may_evict,
                                  Rank rank) const {
    CHECK_LT(size_class, table_.size_classes());
    std::optional<ExpertId> found;
    std::uint64_t highest = 0;
    for (LayerIndex layer = 0; layer < table_.layers(); ++layer) {
      const std::uint32_t list = list_of(size_class, layer);
      for (std::uint32_t expert = lists_.oldest(list); expert != lists_.end(list);
           expert = lists_.newer(expert)) {
        const std::uint64_t ranked = rank(layer, turns_.turns(layer) - used_at_[expert]);
        if (found && ranked <= highest) break;
        if (!may_evict(table_.id(expert))) continue;
        found = table_.id(expert);
        highest = ranked;
        break;
      }
    }
    return found;
  }

 private:
  std::uint32_t list_of(std::uint8_t size_class, LayerIndex layer) const {
    return size_class * table_.layers() + layer;
  }

  ExpertTable table_;
  LayerTurns turns_;
  RecencyLists lists_;
  std::vector<std::uint64_t> used_at_;  // turn of the layer
};

}  // namespace hearth::profiler
