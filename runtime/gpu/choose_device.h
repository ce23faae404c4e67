// Which GPU of those that are here computes, and with which rates.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/gpu/backend.h"
#include "runtime/engine.h"

namespace hearth::runtime {

struct FoundDevice {
  std::string name;  // "cuda0": of its back end, with its number
  const kernels::GpuBackend* backend = nullptr;
  kernels::DeviceProperties properties;
};

struct FoundDevices {
  std::vector<FoundDevice> devices;
  std::string why_none;  // where there are none
};
FoundDevices find_devices();

std::string_view name_of(MissService misses);  // "auto", "link", "cpu"
std::optional<MissService> parse_miss_service(std::string_view name);
std::string_view name_of(GpuCache cache);  // "device", "host"
std::optional<GpuCache> parse_gpu_cache(std::string_view name);

struct DeviceWish {
  std::string device = "auto";  // or "none", or a name
  std::optional<Bytes> vram;    // nothing: no device
  MissService misses = MissService::kMeasured;
  GpuCache cache = GpuCache::kDevice;
  // What was measured. None: the file of hearth doctor, where it is there and of this device.
  std::optional<std::string> machine_file;
  // Told why a file that is there cannot be used.
  std::function<void(const std::string&)> note;
};

// Sets the device and its budget; leaves them where the CPU is to compute. `auto` is the first
// there is, if the model fits it: a device that must be taken, since it, its memory, its lanes or a
// cache of the host were asked for, is otherwise Error(kDevice) where there is none. Throws
// Error(kUsage) for an unknown name and for wishes that contradict each other, and for a named
// machine file without this device.
void choose_device(const DeviceWish& wish, EngineOptions& options);

}  // namespace hearth::runtime
