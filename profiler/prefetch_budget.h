// How many bytes may be prefetched for the next layer, and whether to prefetch at all.
//
// Pure and deterministic: it sees one observation per decoding step and no clock of its own.
//
//   on --256, then 1024 steps--> trial --gain--> on        on --useless--> off
//                                    \--no gain--> off --512, 1024, ... 8192 steps--> trial
//
// A trial (profiler/paired_trial.h) compares the step times without and with prefetch: whether a
// prefetch pays is not derived from hit rates but measured in time, since a prefetch that hits can
// still cost more, by delaying demands, than it saves.
#pragma once

#include <cstdint>
#include <optional>

#include "base/units.h"
#include "profiler/paired_trial.h"

namespace hearth::profiler {

// What happened in one decoding step, all layers together.
struct PrefetchObservation {
  Nanoseconds step_time{0};
  std::uint32_t issued = 0;  // experts prefetched
  std::uint32_t used = 0;    // of the experts prefetched now or before: routed in this step
};

class PrefetchBudget {
 public:
  struct Config {
    Bytes largest_expert;
    std::uint32_t experts_per_token = 0;  // top-k: more than one layer's need is never guessed
  };
  enum class Mode : std::uint8_t { kTrial, kOn, kOff };

  explicit PrefetchBudget(const Config& config);

  // After every decoding step of one token; steps of many rows are not comparable and left out.
  void observe(const PrefetchObservation& step);

  // To spend on reads for one layer; zero while prefetch is off or a trial measures without it.
  Bytes next_layer() const;

  Mode mode() const { return mode_; }
  // Of all experts prefetched so far, the part that was used; 0 before the first.
  double precision() const;
  // Step time saved by prefetch in the last complete trial, as a part of the time without.
  std::optional<double> measured_gain() const { return gain_; }

 private:
  bool enabled() const;
  void end_window();
  void begin_trial();
  void end_trial();
  void turn_off();
  void adapt_share();

  const Config config_;
  Mode mode_ = Mode::kOn;
  bool was_on_ = true;  // before the trial
  std::uint32_t steps_in_mode_;
  std::uint32_t off_steps_;
  PairedTrial trial_;  // without, and with prefetch
  std::optional<double> gain_;
  std::uint64_t issued_ = 0, used_ = 0;                // ever
  std::uint32_t window_issued_ = 0, window_used_ = 0;  // since the last window
  std::uint32_t share_;                                // of a token's need of a layer, in eighths
};

}  // namespace hearth::profiler
