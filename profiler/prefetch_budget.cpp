#include "profiler/prefetch_budget.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {
namespace {

// Step times of a machine that streams experts scatter by about 15 %: the median of 64 has a
// standard error of 1.25 * 15 % / 8 = 2.3 %, the difference of two 3.3 %. To be turned on,
// prefetch must gain more than that; to stay on, it must merely not lose.
constexpr double kGainToTurnOn = 0.033;
constexpr double kGainToStayOn = 0.0;

// A trial runs half of its 128 steps in the worse way. Repeated every 1024 steps it costs at most
// 1/18 of what prefetch gains; and after 8192 steps off, under 1 % of what it loses.
constexpr std::uint32_t kOnSteps = 1024;
constexpr std::uint32_t kStepsBeforeFirstTrial = 256;  // a short text gains from the start
constexpr std::uint32_t kFirstOffSteps = 512;
constexpr std::uint32_t kMostOffSteps = 8192;

// Below one used expert in eight, a prefetch reads eight times what it saves: no trial is needed.
constexpr std::uint32_t kUselessBelowOneIn = 8;
constexpr std::uint32_t kFewestIssuedToJudge = 64;

// How much of a token's need of one layer is guessed, in eighths: the likeliest quarter at most.
// The disk is busy with that while a layer computes, and more of it only evicts earlier. (16 layers
// of a 30B-A3B shape, memory for 25 % of the file: with the whole need guessed 251 MB a token at
// 88 % of the disk's rate, with a quarter 213 at 90 %, with nothing 208 at 81 %; from 60 % on there
// is no difference.) Many wrong guesses halve it.
constexpr std::uint32_t kWholeShare = 8;
constexpr std::uint32_t kMostShare = 2;

}  // namespace

PrefetchBudget::PrefetchBudget(const Config& config)
    : config_(config),
      steps_in_mode_(kOnSteps - kStepsBeforeFirstTrial),
      off_steps_(kFirstOffSteps / 2),
      share_(kMostShare) {
  CHECK_GT(config_.experts_per_token, 0u);
}

void PrefetchBudget::observe(const PrefetchObservation& step) {
  issued_ += step.issued, window_issued_ += step.issued;
  used_ += step.used, window_used_ += step.used;

  if (mode_ == Mode::kTrial) trial_.observe(step.step_time);
  ++steps_in_mode_;
  if (steps_in_mode_ % PairedTrial::kWindowSteps == 0) end_window();
}

void PrefetchBudget::end_window() {
  const bool useless =
      window_issued_ >= kFewestIssuedToJudge && window_used_ * kUselessBelowOneIn < window_issued_;
  adapt_share();
  window_issued_ = window_used_ = 0;
  if (useless)
    turn_off();
  else if (mode_ == Mode::kTrial && trial_.finished())
    end_trial();
  else if ((mode_ == Mode::kOn && steps_in_mode_ >= kOnSteps) ||
           (mode_ == Mode::kOff && steps_in_mode_ >= off_steps_))
    begin_trial();
}

void PrefetchBudget::begin_trial() {
  was_on_ = mode_ == Mode::kOn;
  mode_ = Mode::kTrial;
  steps_in_mode_ = 0;
  trial_.begin();
}

void PrefetchBudget::end_trial() {
  gain_ = trial_.gain();
  if (*gain_ < (was_on_ ? kGainToStayOn : kGainToTurnOn)) return turn_off();
  mode_ = Mode::kOn;
  steps_in_mode_ = 0;
  off_steps_ = kFirstOffSteps / 2;
}

// Every failure in a row doubles the time until the next trial.
void PrefetchBudget::turn_off() {
  off_steps_ = std::min(2 * off_steps_, kMostOffSteps);
  mode_ = Mode::kOff;
  steps_in_mode_ = 0;
}

void PrefetchBudget::adapt_share() {
  if (window_issued_ == 0) return;
  if (window_used_ * 2 < window_issued_)
    share_ = std::max(share_ - 1, 1u);
  else if (window_used_ * 4 > window_issued_ * 3)
    share_ = std::min(share_ + 1, kMostShare);
}

Bytes PrefetchBudget::next_layer() const {
  if (!enabled()) return {};
  const std::uint32_t experts = config_.experts_per_token * share_ / kWholeShare;
  return config_.largest_expert * std::max(experts, 1u);
}

double PrefetchBudget::precision() const {
  return issued_ == 0 ? 0.0 : static_cast<double>(used_) / static_cast<double>(issued_);
}

bool PrefetchBudget::enabled() const {
  return mode_ == Mode::kTrial ? trial_.second_way() : mode_ == Mode::kOn;
}

}  // namespace hearth::profiler
