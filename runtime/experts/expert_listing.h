// The experts of files whose models are not run here: found by the names of tensors, or listed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "runtime/experts/expert_catalog.h"

namespace hearth::runtime {

// Of all layers that have tensors blk.N.ffn_{gate,up,down}_exps.weight, or gate_up instead of the
// first two. Throws Error(kBadFile / kUnsupported) naming what does not fit, or that there are
// none.
ExpertCatalog find_experts(const io::GgufFile& file);

struct ListedPart {
  std::uint32_t layer = 0;
  std::uint32_t expert = 0;
  ExpertPart part;
};

// Of a table; parts of one expert in the order of the rows. Throws Error(kUsage) for rows that make
// no sense, Error(kBadFile) for a part past the end of its file, Error(kNotFound / kIo) for a file.
ExpertCatalog list_experts(const std::vector<std::string>& files, std::span<const ListedPart> rows);

// Which experts these are, whatever the files are called: their numbers and sizes.
std::uint64_t fingerprint(const ExpertCatalog& catalog);

}  // namespace hearth::runtime
