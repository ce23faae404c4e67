// "Did you mean …?"
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace hearth::tools {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`
// (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `name`, the first among equals, within a third of the length of the name
// and at least 1; else the first that `name` is the beginning of; else empty.
std::string_view nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace hearth::tools
