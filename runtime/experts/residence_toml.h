// Which experts are in which tier, as a text: what one run learned, for the next one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "runtime/experts/expert_catalog.h"

namespace hearth::runtime {

struct Residence {
  std::vector<ExpertId> ram;     // those first that were used most
  std::vector<ExpertId> device;  // likewise
};

std::string residence_text(const Residence& residence, const ExpertCatalog& catalog);

// Throws Error(kBadFile) naming line and key where the text is none, Error(kBadInput) where it is
// of other experts. `name` appears in messages.
Residence parse_residence(std::string_view text, const ExpertCatalog& catalog,
                          const std::string& name);

}  // namespace hearth::runtime
