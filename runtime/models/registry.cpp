#include "runtime/models/architecture.h"

namespace hearth::runtime {

std::span<const Architecture> architectures() {
  static constexpr Architecture kArchitectures[] = {
      {"ernie4_5-moe", build_ernie4_5_moe},  // ERNIE 4.5 21B-A3B, 300B-A47B
      {"gemma4", build_gemma4},              // Gemma 4 26B-A4B
      {"glm4moe", build_glm4moe},            // GLM 4.5 and later
      {"gpt-oss", build_gpt_oss},            // gpt-oss 20B, 120B
      {"llama", build_llama},                // Mixtral
      {"llama4", build_llama4},              // Llama 4 Scout, Maverick
      {"minimax-m2", build_minimax_m2},      // MiniMax-M2
      {"olmoe", build_olmoe},                // OLMoE-1B-7B
      {"qwen2moe", build_qwen2moe},          // Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B
      {"qwen3moe", build_qwen3moe},          // Qwen3-30B-A3B, Qwen3-235B-A22B
  };
  return kArchitectures;
}

}  // namespace hearth::runtime
