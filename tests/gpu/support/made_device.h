// Engines of the golden models whose device is an emulated one, and what their sessions say.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/gpu/emulation/device.h"
#include "runtime/engine.h"
#include "runtime/session.h"

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

// Of the rows from `first` on.
inline std::vector<float> logits_of(Session& session, std::span<const TokenId> tokens,
                                    std::uint32_t first = 0) {
  std::vector<float> logits;
  session.evaluate(tokens, first, [&](std::uint32_t, std::span<const float> row) {
    logits.insert(logits.end(), row.begin(), row.end());
  });
  return logits;
}

}  // namespace hearth::runtime
