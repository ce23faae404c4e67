// Linked in the place of kernels/gpu/backend.cpp: a program whose only GPU is the emulation, small
// enough that what is measured on it takes no time.
#include "kernels/gpu/backend.h"
#include "kernels/gpu/emulation/device.h"

namespace hearth::kernels {
namespace {

std::unique_ptr<Device> open(int) {
  return std::make_unique<emulated::EmulatedDevice>(emulated::DeviceOptions{.memory = 64 * kMiB});
}

GpuDevices find() { return {.devices = {open(0)->properties()}, .why_none = {}}; }

}  // namespace

std::span<const GpuBackend> gpu_backends() {
  static constexpr GpuBackend kBackends[] = {{"emulated", find, open, emulated_kernels}};
  return kBackends;
}

}  // namespace hearth::kernels
