#include "profiler/paired_trial.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {
namespace {

// The windows of a trial, in the Thue-Morse order: a linear drift of the machine (its clock, a
// neighbour's load) and a quadratic one weigh the same on both sides.
constexpr std::array<bool, PairedTrial::kWindows> kSecondWay = {false, true,  true,  false,
                                                                true,  false, false, true};

}  // namespace

void PairedTrial::begin() {
  steps_ = 0;
  for (Way& way : ways_) way.count = 0;
}

bool PairedTrial::second_way() const {
  CHECK(!finished());
  return kSecondWay[steps_ / kWindowSteps];
}

void PairedTrial::observe(Nanoseconds step_time) {
  Way& way = ways_[second_way() ? 1 : 0];
  way.step_times[way.count++] = step_time;
  ++steps_;
}

double PairedTrial::gain() {
  CHECK(finished());
  const double first = ways_[0].median();
  return first > 0 ? 1.0 - ways_[1].median() / first : 0.0;
}

double PairedTrial::Way::median() {
  CHECK_EQ(count, step_times.size());
  const auto middle = step_times.begin() + step_times.size() / 2;
  std::nth_element(step_times.begin(), middle, step_times.end());
  return seconds(*middle);
}

}  // namespace hearth::profiler
