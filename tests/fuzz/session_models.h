// The engines whose sessions are fuzzed: f16, quantized tiles with a tail, recurrent layers,
// latents.
#pragma once

#include <array>
#include <string>

#include "runtime/engine.h"

namespace hearth::testing {

inline constexpr std::uint32_t kSessionTokens = 35;  // a whole tile, and a part of one

struct SessionModel {
  const char* name;
  const char* model;
  kernels::KvFormat keys, values;
};

inline constexpr std::array<SessionModel, 4> kSessionModels = {{
    {"f16", "qwen3moe", kernels::KvFormat::kF16, kernels::KvFormat::kF16},
    {"quantized", "qwen3moe", kernels::KvFormat::kQ8_0, kernels::KvFormat::kQ4_0},
    {"recurrent", "qwen3next", kernels::KvFormat::kF16, kernels::KvFormat::kF16},
    {"latents", "deepseek2-lite", kernels::KvFormat::kF16, kernels::KvFormat::kF16},
}};

inline runtime::EngineOptions options_of(const SessionModel& model) {
  return {.model_path = HEARTH_SOURCE_DIR "/tests/golden/" + std::string(model.model) + ".gguf",
          .budget = {.expert_share = 0.5},
          .context = 64,
          .batch = kSessionTokens,
          .threads = 1,
          .key_format = model.keys,
          .value_format = model.values,
          .kv_tail = 0};
}

}  // namespace hearth::testing
