// The GPU backends that this program was built with: none, CUDA, HIP or both.
//
// A program built with one runs on machines without a GPU, a driver or its libraries: nothing of
// the driver is linked, find() says what is missing.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"

namespace hearth::kernels {

struct GpuDevices {
  std::vector<DeviceProperties> devices;
  std::string why_none;  // where there are none: "no NVIDIA driver (libcuda.so.1)"
};

struct GpuBackend {
  std::string_view name;  // "CUDA"
  GpuDevices (*find)();
  std::unique_ptr<Device> (*open)(int ordinal);  // Error(kDevice) where that fails
  const GpuKernels& (*kernels)();
};

std::span<const GpuBackend> gpu_backends();

}  // namespace hearth::kernels
