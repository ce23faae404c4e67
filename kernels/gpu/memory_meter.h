// How much of a device's memory this process takes, from what the driver says of the whole device:
// the free memory is read before and after everything that may take some, and what it changed by
// meanwhile is this process's. Drivers have no figure of one process that is there on every system;
// others come and go unseen between two such readings, and are only counted if they do so in
// between.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>

#include "base/units.h"

namespace hearth::kernels {

// Of a device, by this process.
struct DeviceUse {
  Bytes allocated;  // by its buffers
  Bytes driver;     // all else: context, kernels, graphs, unused ends of pages
  Bytes total() const { return allocated + driver; }
};

class MemoryMeter {
 public:
  void changed(Bytes used_before, Bytes used_after) {
    const std::lock_guard lock(mutex_);
    taken_ += static_cast<std::int64_t>(used_after.count - used_before.count);
    peak_ = std::max(peak_, total());
  }
  void allocated(void* memory, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    buffers_[memory] = bytes;
    allocated_ += bytes;
    peak_ = std::max(peak_, total());
  }
  void freed(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto found = buffers_.find(memory);
    if (found == buffers_.end()) return;
    allocated_ -= found->second;
    buffers_.erase(found);
  }

  DeviceUse use() const {
    const std::lock_guard lock(mutex_);
    return {.allocated = allocated_, .driver = Bytes(total().count - allocated_.count)};
  }
  Bytes peak() const {
    const std::lock_guard lock(mutex_);
    return peak_;
  }

 private:
  // Buffers are certain, whatever others did while they were taken.
  Bytes total() const {
    return std::max(allocated_,
                    Bytes(static_cast<std::uint64_t>(std::max<std::int64_t>(taken_, 0))));
  }

  mutable std::mutex mutex_;
  std::map<void*, Bytes> buffers_;
  Bytes allocated_, peak_;
  std::int64_t taken_ = 0;  // as the free memory shows it
};

}  // namespace hearth::kernels
