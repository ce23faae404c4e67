// Experts that somebody guesses will be wanted, by deadline: what to read when nothing else is.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/units.h"

namespace hearth::runtime {

struct Hint {
  ExpertId id;
  Nanoseconds deadline{0};  // of the clock; Nanoseconds::max(): none
};

class HintQueue {
 public:
  // Takes its memory here; more hints than that are refused.
  explicit HintQueue(std::size_t capacity) : capacity_(capacity) { hints_.reserve(capacity); }

  // Of two hints for one expert the earlier deadline holds. False where there is no room.
  bool add(const Hint& hint);
  // The next one whose deadline is not past: the earliest deadline first, of equals the older one.
  std::optional<Hint> take(Nanoseconds now);

  std::uint64_t late() const { return late_; }  // were dropped, because their deadline had passed

 private:
  std::size_t capacity_;
  std::vector<Hint> hints_;  // in reverse: the next one is the last
  std::uint64_t late_ = 0;
};

}  // namespace hearth::runtime
