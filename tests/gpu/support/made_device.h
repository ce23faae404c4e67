// Engines of the golden models whose device is an emulated one.
#pragma once

#include <string>

#include "kernels/gpu/emulation/device.h"
#include "runtime/engine.h"

namespace hearth::runtime {

inline EngineOptions golden_options(const std::string& model) {
  return {.model_path = HEARTH_SOURCE_DIR "/tests/golden/" + model + ".gguf",
          .context = 96,
          .threads = 1};
}

// `device` is that of the engine, while there is one.
inline EngineOptions on_device(EngineOptions options,
                               kernels::emulated::EmulatedDevice** device = nullptr,
                               const kernels::emulated::DeviceOptions& of = {}) {
  options.device = {.name = "made0",
                    .open =
                        [device, of] {
                          auto made = std::make_unique<kernels::emulated::EmulatedDevice>(of);
                          if (device != nullptr) *device = made.get();
                          return made;
                        },
                    .kernels = &kernels::emulated_kernels()};
  return options;
}

}  // namespace hearth::runtime
