// Engines of the golden models with a device: an emulated one, or any.
#pragma once

#include <string>

#include "kernels/gpu/emulation/device.h"
#include "runtime/engine.h"
#include "tests/gpu/support/one_device.h"

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

// A GPU where the tests are for those; for what needs nothing that only the emulation has.
inline EngineOptions on_any_device(EngineOptions options) {
  options.device = {.name = "any0",
                    .open = [] { return kernels::OneDevice({}).release(); },
                    .kernels = &kernels::OneDevice({}).kernels()};
  return options;
}

}  // namespace hearth::runtime
