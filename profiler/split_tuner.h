// Which table of a FetchLadder serves the misses, by the time that steps really take.
//
// Rates measured apart are not those of a running model: other programs use the memory, the link
// is shared, a lane costs more to join than was thought. So the tuner begins at the rung that the
// rates recommend and compares it with others in trials:
//
//   searching: a quarter of the ladder up and down, then an eighth, ... then the next rungs; last
//              the two ends, where one lane is not used at all and costs nothing
//   resting:   1024 steps, then twice as many each time the search finds nothing, up to 8192
//
// Pure and deterministic: it sees one step time after another and no clock.
#pragma once

#include <cstdint>

#include "profiler/paired_trial.h"

namespace hearth::profiler {

class SplitTuner {
 public:
  SplitTuner(std::uint32_t rungs, std::uint32_t start);

  // For the next step of one token.
  std::uint32_t rung() const;
  // After each such step; steps of many rows are not comparable and left out.
  void observe(Nanoseconds step_time);

  // The rung outside of trials.
  std::uint32_t chosen() const { return chosen_; }
  bool resting() const { return resting_; }

 private:
  void begin_search();
  bool next_candidate();
  void end_trial();

  const std::uint32_t rungs_;
  std::uint32_t chosen_;
  std::uint32_t candidate_ = 0;
  PairedTrial trial_;
  bool resting_ = true;
  bool moved_ = false;          // in this search
  std::uint32_t stride_ = 0;    // of the search; 0: the ends
  std::uint32_t attempts_ = 0;  // of candidates at this stride
  std::int32_t direction_ = 1;
  std::uint32_t steps_resting_ = 0;
  std::uint32_t rest_steps_;
};

}  // namespace hearth::profiler
