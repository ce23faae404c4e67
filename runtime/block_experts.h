// The routed experts of each block, as the tensors of a file have them, of whatever architecture:
// enough for profiles of models that are run by other programs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/units.h"
#include "io/gguf.h"

namespace hearth::runtime {

struct BlockExperts {
  std::uint32_t count = 0;  // 0: none are used, which is so in blocks of multi-token prediction too
  std::optional<Bytes> bytes = Bytes(0);  // of all of them; empty where a format is not known
};

// For every block. Throws Error(kBadFile) where the tensors contradict the metadata or each other.
std::vector<BlockExperts> experts_of_blocks(const io::GgufFile& file);

// Their counts alone.
std::vector<std::uint32_t> expert_counts(const std::vector<BlockExperts>& blocks);

}  // namespace hearth::runtime
