// How many processors this process may use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace hearth::runtime {

// The lesser of two, at least 1: the processors its threads may run on (sched_getaffinity(2), which
// heeds `taskset` and the cpuset of a container), and as many whole ones as its control groups
// grant the time of. With more threads than that, those that wait for one another would use up the
// time of those that compute.
std::uint32_t available_processors();

// Of the groups alone: the least time that one of this process, or one above it, is granted, in
// processors (`docker run --cpus 1.5`: 1.5). Version 1 and 2; all files are looked for under
// `root`. Nothing where there is no limit.
std::optional<double> processors_by_cgroups(const std::filesystem::path& root = "/");

}  // namespace hearth::runtime
