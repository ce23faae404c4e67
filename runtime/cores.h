// How many cores this process may use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace hearth::runtime {

// The lesser of two, at least 1: the cores its threads may run on (sched_getaffinity(2), which
// heeds `taskset` and the cpuset of a container), and as many whole processors as its control
// groups grant the time of. With more threads than that, those that wait for one another would use
// up the time of those that compute. A second thread on a core (SMT) is one too many as well:
// vector operations of one keep it busy, and attention by two of them on one core was 2 to 5 %
// faster.
std::uint32_t available_cores();

// The cores that these processors, by the kernel's numbers, are part of. One about which nothing is
// said is a core. All files are looked for under `root`.
std::uint32_t cores_of(const std::vector<std::uint32_t>& processors,
                       const std::filesystem::path& root = "/");

// Of the groups alone: the least time that one of this process, or one above it, is granted, in
// processors (`docker run --cpus 1.5`: 1.5). Version 1 and 2. Nothing where there is no limit.
std::optional<double> processors_by_cgroups(const std::filesystem::path& root = "/");

}  // namespace hearth::runtime
