#include "profiler/prefetch_budget.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {
namespace {

// The windows of a trial, in the Thue-Morse order: a linear drift of the machine (its clock, a
// neighbour's load) and a quadratic one weigh the same on both sides.
constexpr std::array<bool, 8> kWindowHasPrefetch = {false, true,  true,  false,
                                                    true,  false, false, true};

// Step times of a machine that streams experts scatter by about 15 %: the median of 64 has a
// standard error of 1.25 * 15 % / 8 = 2.3 %, the difference of two 3.3 %. To be turned on,
// prefetch must gain more than that; to stay on, it must merely not lose.
constexpr double kGainToTurnOn = 0.033;
constexpr double kGainToStayOn = 0.0;

// A trial runs half of its 128 steps in the worse way. Repeated every 1024 steps it costs at most
// 1/18 of what prefetch gains; and after 8192 steps off, under 1 % of what it loses.
constexpr std::uint32_t kOnSteps = 1024;
constexpr std::uint32_t kFirstOffSteps = 512;
constexpr std::uint32_t kMostOffSteps = 8192;

// Below one used expert in eight, a prefetch reads eight times what it saves: no trial is needed.
constexpr std::uint32_t kUselessBelowOneIn = 8;
constexpr std::uint32_t kFewestIssuedToJudge = 64;

// The part of the idle link that is spent starts at a half, for the demands that follow must not
// queue behind guesses, and moves by an eighth per window.
constexpr std::uint32_t kWholeShare = 8;
constexpr std::uint32_t kFirstShare = 4;

// Sums of the last steps, by exponential decay: about 32 steps, two windows.
constexpr double kDecay = 1.0 - 1.0 / 32;

}  // namespace

PrefetchBudget::PrefetchBudget(const Config& config)
    : config_(config), off_steps_(kFirstOffSteps / 2), share_(kFirstShare) {
  static_assert(kWindowHasPrefetch.size() == kTrialWindows);
  CHECK_GT(config_.moe_layers, 0u);
  CHECK_GT(config_.experts_per_token, 0u);
}

void PrefetchBudget::observe(const PrefetchObservation& step) {
  read_bytes_ = read_bytes_ * kDecay + static_cast<double>(step.demanded.count);
  read_seconds_ = read_seconds_ * kDecay + seconds(step.disk_wait);
  idle_seconds_ = idle_seconds_ * kDecay + seconds(step.step_time - step.disk_wait);
  steps_ = steps_ * kDecay + 1;
  issued_ += step.issued, window_issued_ += step.issued;
  used_ += step.used, window_used_ += step.used;
  window_late_ += step.late;

  if (mode_ == Mode::kTrial) {
    Arm& arm = enabled() ? with_ : without_;
    arm.step_times[arm.count++] = step.step_time;
  }
  ++steps_in_mode_;
  if (steps_in_mode_ % kWindowSteps == 0) end_window();
}

void PrefetchBudget::end_window() {
  const bool useless =
      window_issued_ >= kFewestIssuedToJudge && window_used_ * kUselessBelowOneIn < window_issued_;
  adapt_share();
  window_issued_ = window_used_ = window_late_ = 0;
  if (useless)
    turn_off();
  else if (mode_ == Mode::kTrial && steps_in_mode_ == kWindowSteps * kTrialWindows)
    end_trial();
  else if ((mode_ == Mode::kOn && steps_in_mode_ >= kOnSteps) ||
           (mode_ == Mode::kOff && steps_in_mode_ >= off_steps_))
    begin_trial();
}

void PrefetchBudget::begin_trial() {
  was_on_ = mode_ == Mode::kOn;
  mode_ = Mode::kTrial;
  steps_in_mode_ = 0;
  without_.count = with_.count = 0;
}

void PrefetchBudget::end_trial() {
  const double without = without_.median();
  gain_ = without > 0 ? 1.0 - with_.median() / without : 0.0;
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

// Late arrivals say that more was asked for than the link could bring in time, unused ones that
// the guesses beyond the best are not worth their bytes: both want fewer of them.
void PrefetchBudget::adapt_share() {
  if (window_issued_ == 0) return;
  const bool too_late = window_late_ * 4 > window_used_;
  const bool too_many = window_used_ * 2 < window_issued_;
  const bool in_time = window_late_ * 16 <= window_used_;
  if (too_late || too_many)
    share_ = std::max(share_ - 1, 1u);
  else if (in_time)
    share_ = std::min(share_ + 1, kWholeShare);
}

// The link is idle while the step computes and does not wait: all demanded reads are waited for.
Bytes PrefetchBudget::next_layer() const {
  if (!enabled() || read_seconds_ <= 0) return {};
  const double bytes_per_second = read_bytes_ / read_seconds_;
  const double idle_bytes = idle_seconds_ * bytes_per_second / (steps_ * config_.moe_layers);
  const Bytes affordable(static_cast<std::uint64_t>(idle_bytes * share_ / kWholeShare));
  // One expert even where the link seems too busy: its cost is what the trial measures.
  return std::clamp(affordable, config_.largest_expert,
                    config_.largest_expert * config_.experts_per_token);
}

double PrefetchBudget::precision() const {
  return issued_ == 0 ? 0.0 : static_cast<double>(used_) / static_cast<double>(issued_);
}

bool PrefetchBudget::enabled() const {
  if (mode_ != Mode::kTrial) return mode_ == Mode::kOn;
  return kWindowHasPrefetch[steps_in_mode_ / kWindowSteps];
}

double PrefetchBudget::Arm::median() {
  CHECK_EQ(count, kSamples);
  const auto middle = step_times.begin() + kSamples / 2;
  std::nth_element(step_times.begin(), middle, step_times.end());
  return seconds(*middle);
}

}  // namespace hearth::profiler
