// The header of a trace, or of an empty profile, of a model that is loaded.
#pragma once

#include <string>

#include "profiler/routing_trace.h"
#include "runtime/model.h"

namespace hearth::runtime {

// `identity` is the model's (runtime/model_identity.h).
profiler::TraceHeader trace_header_of(const Model& model, const profiler::ModelIdentity& identity,
                                      const std::string& workload);

}  // namespace hearth::runtime
