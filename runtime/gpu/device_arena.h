// Memory of a device for one purpose, taken once and carved into pieces.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"
#include "kernels/gpu/device.h"

namespace hearth::runtime {

// Without memory it counts: what carves its pieces from it needs taken() bytes of a device, and
// gets null pointers. So one list of pieces serves the plan and the carving.
class DeviceArena {
 public:
  static constexpr std::uint64_t kAlignment = 256;  // of every piece

  DeviceArena() = default;
  // Throws Error(kBudget), which names `what`, where the device has not so much left.
  DeviceArena(kernels::Device& device, Bytes size, std::string_view what);

  std::byte* take(Bytes bytes);  // CHECKs that it fits
  template <typename T>
  T* take(std::uint64_t count) {
    return reinterpret_cast<T*>(take(Bytes(count * sizeof(T))));
  }
  Bytes taken() const { return taken_; }
  Bytes size() const { return memory_.size(); }

 private:
  kernels::DeviceBuffer memory_;
  bool counts_ = true;
  Bytes taken_;
};

}  // namespace hearth::runtime
