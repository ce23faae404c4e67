#include "runtime/models/architecture.h"

namespace hearth::runtime {

std::span<const Architecture> architectures() {
  static constexpr Architecture kArchitectures[] = {
#define ARCHITECTURE(name, build) {name, build},
#include "runtime/models/architectures.def"
#undef ARCHITECTURE
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
