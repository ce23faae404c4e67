// --device auto | none | NAME, --vram and --list-devices: which GPU computes, and how much of its
// memory it may have.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/gpu/backend.h"
#include "runtime/engine.h"
#include "tools/hearth/command_line.h"

namespace hearth::tools {

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

struct DeviceFlag {
  void add_to(CommandLine& line);

  // Sets the device and its budget. `auto` is the first there is, if the model fits it. Throws
  // Error(kDevice) where a device or memory of one is wanted and there is none, Error(kUsage) for
  // an unknown name.
  void choose(runtime::EngineOptions& options) const;

  std::string device = "auto";
  std::optional<Bytes> vram;
};

// "device    cuda0, NVIDIA H200 (sm_90, CUDA 13.0)" and its memory, or why there is none; on
// stderr.
void print_device(const runtime::Engine& engine);

}  // namespace hearth::tools
