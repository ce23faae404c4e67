// Machine files: machine.toml as hearth doctor writes it, and the presets in configs/machines.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "profiler/machine.h"

namespace hearth::profiler {

inline constexpr int kMachineVersion = 1;

std::string to_toml(const Machine& machine);
// Throws Error(kBadFile) naming key and line for what is missing, of a wrong type or senseless, and
// Error(kUnsupported) for a newer version.
Machine parse_machine(std::string_view text, const std::string& name);

}  // namespace hearth::profiler
