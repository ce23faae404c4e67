#include "runtime/models/architecture.h"

namespace hearth::runtime {

std::span<const Architecture> architectures() {
  static constexpr Architecture kArchitectures[] = {
      {"deepseek2", build_deepseek2},        // DeepSeek-V2, V3, R1; Kimi-K2, GLM-4.7-Flash
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
      {"qwen35moe", build_qwen35moe},        // Qwen3.5 and 3.6: 35B-A3B, 122B-A10B, 397B-A17B
      {"qwen3next", build_qwen3next},        // Qwen3-Next-80B-A3B
  };
  return kArchitectures;
}

std::span<const KnownArchitecture> architectures_without_support() {
  static constexpr KnownArchitecture kKnown[] = {
      {"deepseek32", "sparse attention with an indexer"},
      {"deepseek4", "compressed attention with an indexer, hyper-connections and routing by token"},
      {"glm-dsa", "sparse attention with an indexer"},
      {"granitehybrid", "state space layers"},
      {"grovemoe", "adjugate experts"},
      {"jamba", "state space layers"},
      {"kimi-linear", "delta attention"},
      {"lfm2moe", "short convolutions"},
      {"nemotron_h_moe", "state space layers"},
  };
  return kKnown;
}

}  // namespace hearth::runtime
