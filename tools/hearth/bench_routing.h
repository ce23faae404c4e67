// Experts of a trace instead of the model's own choices, for `hearth bench --routing`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/engine.h"
#include "runtime/forced_routing.h"

namespace hearth::tools {

// Reads the trace and says on stderr what it means for the figures. `needed`: tokens of the longest
// test. Throws Error, for a trace that is too short, too.
std::unique_ptr<runtime::ForcedRouting> open_forced_routing(const std::string& path,
                                                            const runtime::Engine& engine,
                                                            std::uint64_t needed);

// "forced (trace NAME, recorded)"
std::string describe_routing(const std::string& path, const runtime::ForcedRouting& routing);

}  // namespace hearth::tools
