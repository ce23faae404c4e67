// A device of its own for a test of whole models that needs nothing that only the emulation has: an
// emulated one, or the first GPU of this machine with HEARTH_TEST_DEVICES=gpu.
#pragma once

#include <memory>
#include <utility>

#include "kernels/gpu/device.h"
#include "kernels/gpu/emulation/device.h"
#include "kernels/gpu/kernel_table.h"

namespace hearth::kernels {

class OneDevice {
 public:
  // A GPU has the lanes that it has, and streams that are as asynchronous as they can be.
  explicit OneDevice(const emulated::DeviceOptions& of_emulation);

  Device& get() { return *device_; }
  std::unique_ptr<Device> release() { return std::move(device_); }
  const GpuKernels& kernels() const { return *kernels_; }

 private:
  std::unique_ptr<Device> device_;
  const GpuKernels* kernels_ = nullptr;
};

}  // namespace hearth::kernels
