// What the sources of a vendor give to kernels/gpu/backend.cpp.
#pragma once

#include <memory>

#include "kernels/gpu/backend.h"

namespace hearth::kernels {

namespace cuda {
GpuDevices find_devices();
std::unique_ptr<Device> open_device(int ordinal);
}  // namespace cuda

namespace hip {
GpuDevices find_devices();
std::unique_ptr<Device> open_device(int ordinal);
}  // namespace hip

}  // namespace hearth::kernels
