// The control groups of this process: those of its container, its service, its session.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace hearth::runtime {

enum class CgroupVersion { k1, k2 };

// The folders of the groups: the one that is mounted, and those below it down to that of this
// process. In a container the process's own may be the mounted one, or out of sight: then the
// mounted one is all there is to ask. Empty where there are none. Version 1 has a tree for each
// controller ("memory", "cpu"). All files are looked for under `root`.
std::vector<std::filesystem::path> cgroups_of(CgroupVersion version, std::string_view controller,
                                              const std::filesystem::path& root);

// What a file of one number holds. Nothing where there is no such file, or no number in it ("max").
std::optional<std::uint64_t> number_in(const std::filesystem::path& file);

}  // namespace hearth::runtime
