// The text at the beginning of a trace file.
#pragma once

#include <string>
#include <string_view>

#include "profiler/routing_trace.h"

namespace hearth::profiler {

std::string to_toml(const TraceHeader& header);
// Throws Error(kBadFile), also for a header that contradicts itself. `name` appears in messages.
TraceHeader parse_trace_header(std::string_view text, const std::string& name);

}  // namespace hearth::profiler
