// --machine NAME | FILE | auto: whose figures a plan or a prediction is made with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/machine.h"

namespace hearth::tools {

// Names of the machines that are part of the program (configs/machines/NAME.toml), sorted.
std::vector<std::string> machine_presets();
profiler::Machine machine_preset(std::string_view name);  // one of the above

struct MachineChoice {
  profiler::Machine machine;
  std::string origin;  // "preset rtx3060-12g-ddr4", a path
  std::string note;    // to be printed, unless empty: it was measured on another machine
};

// Throws Error(kUsage) for an unknown name, with the nearest one; Error(kNotFound) for `auto` where
// nothing was measured; what load_machine throws for a file.
MachineChoice choose_machine(const std::string& flag);
// What `auto` finds where hearth doctor writes (runtime/machine_file.h), or nothing, also where the
// environment does not say where that is.
std::optional<MachineChoice> saved_machine();

}  // namespace hearth::tools
