#include "profiler/split_tuner.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {
namespace {

// The first tokens warm caches and fill slots; they are no measure.
constexpr std::uint32_t kStepsBeforeFirstSearch = 64;

// A trial runs half of its 128 steps in the worse way, and a search that finds nothing is up to
// eight trials on a ladder of 15 rungs: half of 1024 steps between neighbours that differ little.
constexpr std::uint32_t kFirstRest = 1024;
constexpr std::uint32_t kMostRest = 8192;

// Neighbours differ by little, and a wrong move is corrected by the next trial: noise of 5 % in
// step times makes medians of 64 differ by 1.1 %.
constexpr double kGainToMove = 0.01;

}  // namespace

SplitTuner::SplitTuner(std::uint32_t rungs, std::uint32_t start)
    : rungs_(rungs), chosen_(start), rest_steps_(kStepsBeforeFirstSearch) {
  CHECK_LT(start, rungs);
}

std::uint32_t SplitTuner::rung() const {
  return !resting_ && trial_.second_way() ? candidate_ : chosen_;
}

void SplitTuner::observe(Nanoseconds step_time) {
  if (resting_) {
    if (++steps_resting_ >= rest_steps_ && rungs_ > 1) begin_search();
    return;
  }
  trial_.observe(step_time);
  if (trial_.finished()) end_trial();
}

void SplitTuner::begin_search() {
  resting_ = false;
  moved_ = false;
  stride_ = std::max(rungs_ / 4, 1u);
  attempts_ = 0;
  CHECK(next_candidate());
  trial_.begin();
}

// Both directions at each stride, then at half of it, then both ends. False where nothing is left.
bool SplitTuner::next_candidate() {
  while (true) {
    if (attempts_ == 2) {
      if (stride_ == 0) return false;
      stride_ /= 2;
      attempts_ = 0;
    }
    if (attempts_++ == 1) direction_ = -direction_;
    const std::int64_t wanted = stride_ == 0
                                    ? (direction_ > 0 ? std::int64_t{rungs_} - 1 : 0)
                                    : std::int64_t{chosen_} + direction_ * std::int64_t{stride_};
    candidate_ = static_cast<std::uint32_t>(std::clamp<std::int64_t>(wanted, 0, rungs_ - 1));
    if (candidate_ != chosen_) return true;
  }
}

void SplitTuner::end_trial() {
  if (trial_.gain() > kGainToMove) {
    chosen_ = candidate_;
    moved_ = true;
    attempts_ = 0;  // on in the same direction
  }
  if (next_candidate()) return trial_.begin();
  resting_ = true;
  steps_resting_ = 0;
  rest_steps_ = moved_ ? kFirstRest : std::clamp(2 * rest_steps_, kFirstRest, kMostRest);
}

}  // namespace hearth::profiler
