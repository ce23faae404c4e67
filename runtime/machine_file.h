// What hearth doctor measured of this machine, in the file that it writes.
#pragma once

#include <string>

#include "profiler/machine.h"

namespace hearth::runtime {

// machine.toml in $XDG_CONFIG_HOME/hearth, or in ~/.config/hearth. Throws Error(kUsage) where the
// environment names neither.
std::string saved_machine_path();

// Throws what load_machine throws, and Error(kBadFile) for rates of a weight format that does not
// exist.
profiler::Machine read_machine(const std::string& path);

}  // namespace hearth::runtime
