// Time, injected so that tests can model it.
#pragma once

#include "base/units.h"

namespace hearth {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanoseconds now() const = 0;  // monotonic; the zero point means nothing
};

class SteadyClock final : public Clock {
 public:
  Nanoseconds now() const override {
    return std::chrono::duration_cast<Nanoseconds>(
        std::chrono::steady_clock::now().time_since_epoch());
  }
};

inline const Clock& steady_clock() {
  static const SteadyClock clock;
  return clock;
}

}  // namespace hearth
