// The memory that counting routing takes, which no engine plans: it is a part of --ram, too.
#pragma once

#include "base/units.h"
#include "profiler/routing_trace.h"
#include "tools/hearth/engine_flags.h"

namespace hearth::tools {

// Of a recorder for a model of this shape, and of saving what it counted.
Bytes counting_memory(const profiler::TraceHeader& header);

struct MoreMemory {
  Bytes per_layer;  // for each layer with experts
  Bytes in_all;
};

// Takes that and `more` from --ram and says so, where it was given. Before the flags open an
// engine. Throws as the engine does for a bad model file.
void reserve_counting_memory(EngineFlags& flags, const MoreMemory& more = {});

}  // namespace hearth::tools
