// Host memory that was pinned, each range by a call of its own. Drivers do not copy over the border
// of two of them ("memory regions requested must be entirely registered"), neighbours though they
// be; kernels read across it. So a copy is cut there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <mutex>

#include "base/check.h"

namespace hearth::kernels {

class PinnedRanges {
 public:
  void add(const void* begin, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    CHECK(ranges_.emplace(static_cast<const std::byte*>(begin), bytes).second);
  }
  void remove(const void* begin) {
    const std::lock_guard lock(mutex_);
    CHECK_EQ(ranges_.erase(static_cast<const std::byte*>(begin)), 1u);
  }
  // How many of the bytes from `begin` on lie in the range in which the first lies: all of them
  // where it lies in none.
  std::size_t together(const void* begin, std::size_t bytes) const {
    const std::lock_guard lock(mutex_);
    const auto* const first = static_cast<const std::byte*>(begin);
    const auto next = ranges_.upper_bound(first);
    if (next == ranges_.begin()) return bytes;
    const auto& [start, size] = *std::prev(next);
    const auto at = static_cast<std::size_t>(first - start);
    return at < size ? std::min(bytes, size - at) : bytes;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::size_t> ranges_;  // by their begin
};

}  // namespace hearth::kernels
