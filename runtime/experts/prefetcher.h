// Reads experts before they are asked for, in time the disk would otherwise be idle.
//
// The guess is the caller's (the next layer's router on this layer's router input); this class
// ranks it over the rows of the step and starts reads within a byte budget. A prefetch is queued
// behind the demands of the layer, takes only slots no live expert holds (profiler::Residency), and
// its result changes nothing but time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "profiler/prefetch_budget.h"
#include "runtime/experts/expert_store.h"

namespace hearth::runtime {

class Prefetcher {
 public:
  struct Options {
    bool enabled = true;
    std::uint32_t experts_used = 0;  // top-k
  };
  Prefetcher(ExpertStore& store, const Options& options);

  void begin_step(std::uint32_t rows);
  // False while there is nothing to spend: then the prediction need not be computed.
  bool wanted() const;

  // Votes of the rows of the step, then the reads: most wanted first, until the budget is spent.
  void begin_prediction(std::uint32_t experts);
  void predict_row(std::span<const float> router_scores, std::uint32_t experts_used);
  void fetch_predicted(LayerIndex layer);

  void end_step(Nanoseconds step_time);

  bool enabled() const { return options_.enabled; }
  const profiler::PrefetchBudget& budget() const { return budget_; }

 private:
  // What the counters of the store said when the step began.
  struct Mark {
    std::uint64_t issued = 0, used = 0;
  };
  Mark mark() const;

  ExpertStore& store_;
  Options options_;
  profiler::PrefetchBudget budget_;
  std::vector<std::uint32_t> votes_;   // [experts of the layer]
  std::vector<std::uint16_t> chosen_;  // of one row
  std::vector<std::uint16_t> ranked_;  // distinct predicted experts
  std::uint32_t rows_ = 0;
  Mark start_;
};

}  // namespace hearth::runtime
