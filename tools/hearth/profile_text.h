// A profile as text for a terminal.
#pragma once

#include "profiler/expert_profile.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {

// To standard output: a heat map with a row per layer, how soon experts are used again, and the hit
// rates of the cache policies. `hottest_first`: in each row, else by number.
void print_heat(const profiler::ExpertProfile& profile, const TerminalTraits& traits,
                bool hottest_first);
void print_reuse(const profiler::ExpertProfile& profile);
void print_curves(const profiler::ExpertProfile& profile);

}  // namespace hearth::tools
