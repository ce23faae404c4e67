// Profiles as a page to look at (tools/hearth/assets/profile.html).
#pragma once

#include <span>
#include <string>

#include "profiler/profile_merge.h"

namespace hearth::tools {

// One file that opens offline. The page switches between the profiles; at least one.
std::string profile_page(std::span<const profiler::NamedProfile> profiles);

}  // namespace hearth::tools
