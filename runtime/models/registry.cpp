#include "runtime/models/architecture.h"

namespace hearth::runtime {

std::span<const Architecture> architectures() {
  static constexpr Architecture kArchitectures[] = {
      {"qwen3moe", build_qwen3moe},  // Qwen3-30B-A3B, Qwen3-235B-A22B
  };
  return kArchitectures;
}

}  // namespace hearth::runtime
