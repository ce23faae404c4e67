#include "runtime/experts/hint_queue.h"

#include <algorithm>

namespace hearth::runtime {

bool HintQueue::add(const Hint& hint) {
  const auto known = std::ranges::find(hints_, hint.id, &Hint::id);
  if (known != hints_.end()) {
    if (known->deadline <= hint.deadline) return true;
    hints_.erase(known);
  }
  if (hints_.size() == capacity_) return false;
  const auto later_first = [](const Hint& a, const Hint& b) { return a.deadline > b.deadline; };
  hints_.insert(std::lower_bound(hints_.begin(), hints_.end(), hint, later_first), hint);
  return true;
}

std::optional<Hint> HintQueue::take(Nanoseconds now) {
  while (!hints_.empty()) {
    const Hint next = hints_.back();
    hints_.pop_back();
    if (next.deadline >= now) return next;
    ++late_;
  }
  return std::nullopt;
}

}  // namespace hearth::runtime
