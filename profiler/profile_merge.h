// One profile of what several recorded of the same model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"

namespace hearth::profiler {

struct NamedProfile {
  std::string name;  // of its file, for messages
  ExpertProfile profile;
};

struct MergedProfile {
  ExpertProfile profile;
  std::vector<std::string> notes;  // what could not be combined, a line each
};

// Counts, `recent` and reuse distances add, as though all had been recorded side by side; workloads
// of one label become one. Hit rates of separate recordings do not combine into those of their
// mixture: curves stay only where all but one of the profiles are empty, else a note says that they
// are gone. Throws Error(kBadInput) where models differ or counts would overflow, and Error(kUsage)
// for no profile at all.
MergedProfile merge_profiles(std::span<const NamedProfile> profiles);

}  // namespace hearth::profiler
