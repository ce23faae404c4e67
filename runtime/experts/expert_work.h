// The experts that one layer uses in one step: which have a slot, and which have been computed.
//
// Which expert takes which slot, and whom it evicts, follows from the routing alone, in the order
// of profiler::LayerService. Reads may finish and experts be computed in any order; a slow read or
// a full queue delays these decisions, but never reorders them. Hits, misses and evictions (without
// prefetch, whose success depends on time) are therefore those of a replay of the routing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "profiler/layer_service.h"
#include "runtime/experts/expert_store.h"

namespace hearth::runtime {

// The weights of an expert that has arrived, and the pairs [begin, end) that are computed with it.
struct ExpertRows {
  ExpertWeights weights;
  std::uint32_t index = 0;  // within its layer
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

// The pairs [begin, end) of a step, grouped by expert, are computed with this one.
struct ExpertWork {
  ExpertId id;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  ExpertLease lease;
  bool computed = false;

  bool can_compute() const { return !computed && lease.held() && lease.ready(); }
};

class ExpertWorkList {
 public:
  explicit ExpertWorkList(std::uint32_t most_experts);

  // Lists the distinct experts of the decision, those in memory before the absent ones.
  void begin(const profiler::Routing& routing, const ExpertStore& store);
  std::span<ExpertWork> items() { return items_; }

  // Leases what is in memory and starts reading what is absent, as far as there are slots; computed
  // experts make room. To be called again when something arrived or was computed.
  void advance(ExpertStore& store);
  // Gives all leases back; none outlives its step, also one that fails.
  void clear() { items_.clear(); }

 private:
  bool take(ExpertStore& store, ExpertWork& work);

  profiler::LayerService service_;
  std::vector<ExpertWork> items_;  // as service_.experts()
  bool queue_full_ = false;        // of the reader: then nobody makes room for the one that waits
};

}  // namespace hearth::runtime
