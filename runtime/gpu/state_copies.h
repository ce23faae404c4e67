// The state of a session between the memory of a device and whoever writes or reads a file: pieces
// of any size and place through one pinned buffer, which is theirs only as long as the copies last.
#pragma once

#include <cstddef>
#include <span>

#include "base/function_ref.h"
#include "base/units.h"
#include "kernels/gpu/device.h"

namespace hearth::runtime {

inline constexpr Bytes kStateBuffer =
    2 * kMiB;  // long enough that a copy has the speed of the link

class StateSaver {
 public:
  // All outlive it. Throws Error(kBudget) where host memory cannot be pinned.
  StateSaver(kernels::Device& device, kernels::Stream& stream,
             FunctionRef<void(std::span<const std::byte>)> write);
  void add(std::span<const std::byte> piece);  // of the device
  void finish();                               // the rest is written

 private:
  kernels::Stream& stream_;
  FunctionRef<void(std::span<const std::byte>)> write_;
  kernels::MappedMemory buffer_;
  std::size_t filled_ = 0;
};

class StateLoader {
 public:
  // Of `all` bytes in all pieces. Likewise.
  StateLoader(kernels::Device& device, kernels::Stream& stream, Bytes all,
              FunctionRef<void(std::span<std::byte>)> read);
  void add(std::span<std::byte> piece);     // of the device
  void finish() { stream_.synchronize(); }  // all pieces are in place

 private:
  void refill();

  kernels::Stream& stream_;
  FunctionRef<void(std::span<std::byte>)> read_;
  kernels::MappedMemory buffer_;
  std::size_t left_;  // to be read
  std::size_t filled_ = 0, used_ = 0;
};

}  // namespace hearth::runtime
