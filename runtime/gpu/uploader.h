// Copies from any host memory to a device, through two pinned buffers in turn: while one is copied
// the other is filled.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "base/units.h"
#include "kernels/gpu/device.h"

namespace hearth::runtime {

class Uploader {
 public:
  static constexpr Bytes kPiece = 2 * kMiB;  // long enough that a copy has the speed of the link

  // Both outlive it. Throws Error(kBudget) where host memory cannot be pinned.
  Uploader(kernels::Device& device, kernels::Stream& stream);

  void copy(std::byte* to, std::span<const std::byte> from);
  // What was copied is there, and the buffers are free.
  void finish() { stream_.synchronize(); }

 private:
  struct Buffer {
    kernels::MappedMemory memory;
    std::unique_ptr<kernels::Event> copied;
  };
  kernels::Stream& stream_;
  std::array<Buffer, 2> buffers_;
  std::size_t next_ = 0;
};

}  // namespace hearth::runtime
