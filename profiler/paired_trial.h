// Compares two ways of doing a decoding step by the time it takes, while it is done.
//
// A trial alternates windows of 16 steps of each way, 64 steps each, and compares the medians of
// their times. Pure: it sees the times and has no clock.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"

namespace hearth::profiler {

class PairedTrial {
 public:
  static constexpr std::uint32_t kWindowSteps = 16;
  static constexpr std::uint32_t kWindows = 8;
  static constexpr std::uint32_t kSteps = kWindowSteps * kWindows;

  void begin();
  bool finished() const { return steps_ == kSteps; }
  // Which way the next step of a trial goes.
  bool second_way() const;
  void observe(Nanoseconds step_time);  // of a step that went that way; CHECKs !finished()
  // Step time that the second way saved, as a part of the first's; after the last step.
  double gain();

 private:
  struct Way {
    std::array<Nanoseconds, kSteps / 2> step_times;
    std::uint32_t count = 0;
    double median();
  };

  std::array<Way, 2> ways_;
  std::uint32_t steps_ = kSteps;
};

}  // namespace hearth::profiler
