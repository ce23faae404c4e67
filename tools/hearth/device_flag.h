// --device auto | none | NAME, --vram, --misses, --gpu-cache and --list-devices: which GPU
// computes, how much of its memory it may have, who serves what has no room there, and who decides
// that.
#pragma once

#include <optional>
#include <string>

#include "runtime/engine.h"
#include "tools/hearth/command_line.h"

namespace hearth::tools {

struct DeviceFlag {
  void add_to(CommandLine& line);

  void choose(runtime::EngineOptions& options) const;  // runtime/gpu/choose_device.h

  std::string device = "auto";
  std::optional<Bytes> vram;
  std::string misses = "auto";
  std::string cache = "device";
};

// "device    cuda0, NVIDIA H200 (sm_90, CUDA 13.0)" and its memory, or why there is none; on
// stderr.
void print_device(const runtime::Engine& engine);

}  // namespace hearth::tools
