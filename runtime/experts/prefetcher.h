// Reads experts before they are asked for, in time the disk would otherwise be idle.
//
// The guess is the caller's (the next layer's router on this layer's router input); this class ranks
// it over the rows of the step and starts reads within a byte budget. A prefetch is queued behind
// the demands of the layer, takes only slots no live expert holds (profiler::Residency), and its
// result changes nothing but time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "profiler/prefetch_budget.h"
#include "runtime/experts/expert_store.h"

namespace hearth::runtime {

class Prefetcher {
 public:
  Prefetcher(ExpertStore& store, bool enabled, std::uint32_t max_experts_used);

  // False while prefetching is off: then the prediction need not be computed.
  bool wanted() const { return enabled_ && budget_.on(); }

  void begin_prediction(std::uint32_t experts);
  void predict_row(std::span<const float> router_scores, std::uint32_t experts_used);
  void fetch_predicted(LayerIndex layer);

  // After each step of decode: what it cost, for the budget.
  void end_step(Nanoseconds total, Nanoseconds waited);

 private:
  ExpertStore& store_;
  bool enabled_;
  profiler::PrefetchBudget budget_;
  std::vector<std::uint32_t> votes_;         // [experts of a layer] rows that are predicted to want it
  std::vector<std::uint16_t> chosen_;        // of one row
  std::vector<std::uint16_t> ranked_;        // distinct predicted experts, most wanted first
};

}  // namespace hearth::runtime
