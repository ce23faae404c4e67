// How much memory this process can still take.
#pragma once

#include <filesystem>

#include "base/units.h"

namespace hearth::runtime {

// The least of three: what the system has free (MemAvailable), what the memory cgroups of this
// process leave, those of a container or a service, and what its address space may still grow by
// (`ulimit -v`). Beyond the first two the kernel kills the process without a word. And with it what
// this process holds already and would use for the same. 0: the system does not tell.
Bytes available_memory(Bytes held = {});

// Of the cgroups alone: the least that one of this process, or one above it, leaves below its
// limit. What the page cache holds of it counts as free, for the kernel takes that back first.
// Version 1 and 2; all files are looked for under `root`. Without a limit: the most that Bytes
// hold.
Bytes left_by_cgroups(const std::filesystem::path& root = "/");

}  // namespace hearth::runtime
