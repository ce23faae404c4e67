// Linked in the place of kernels/gpu/backend.cpp: a program whose only GPU is the emulation.
// HEARTH_EMULATED_LOST: the device is lost after so many operations; HEARTH_EMULATED_UNUSABLE:
// bytes that are free, but that no buffer fits into.
#include "tests/support/emulated_backend.h"

#include <cstdlib>

#include "kernels/gpu/backend.h"

namespace hearth::kernels {
namespace {

std::uint64_t number_from(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

std::unique_ptr<Device> open(int) {
  return std::make_unique<emulated::EmulatedDevice>(emulated_backend_options());
}

GpuDevices find() {
  const emulated::EmulatedDevice device({.memory = emulated_backend_options().memory});
  return {.devices = {device.properties()}, .why_none = {}};
}

}  // namespace

emulated::DeviceOptions& emulated_backend_options() {
  static emulated::DeviceOptions options{.memory = 64 * kMiB,
                                         .unusable = Bytes(number_from("HEARTH_EMULATED_UNUSABLE")),
                                         .last_operation = number_from("HEARTH_EMULATED_LOST")};
  return options;
}

std::span<const GpuBackend> gpu_backends() {
  static constexpr GpuBackend kBackends[] = {{"emulated", find, open, emulated_kernels}};
  return kBackends;
}

}  // namespace hearth::kernels
