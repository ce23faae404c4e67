// Machine files: machine.toml as hearth doctor writes it, and the presets in configs/machines.
//
// Rates are written in GB/s (10^9), memory in MiB, times in microseconds;
// configs/machines/README.md describes every key. What was parsed is written as the same text
// again: a rate is a whole number of bytes per second, an amount of memory a whole number of MiB.
#pragma once

#include <string>
#include <string_view>

#include "profiler/machine.h"

namespace hearth::profiler {

inline constexpr int kMachineVersion = 1;

std::string to_toml(const Machine& machine);
// Throws Error(kBadFile) naming key and line for what is missing, of a wrong type or senseless, and
// Error(kUnsupported) for a newer version.
// `name` appears in messages.
Machine parse_machine(std::string_view text, const std::string& name);

Machine load_machine(const std::string& path);
void save_machine(const std::string& path, const Machine& machine);  // atomically

}  // namespace hearth::profiler
