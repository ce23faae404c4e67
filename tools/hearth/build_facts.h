// How this program was built.
#pragma once

#include <string>

namespace hearth::tools {

// Some lines: version and commit, compiler and flags, which kernels and readers there are and which
// of them this machine can use.
std::string build_facts();

}  // namespace hearth::tools
