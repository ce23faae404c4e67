// The routing of a text that is run through a model.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "profiler/routing_trace.h"
#include "runtime/session.h"
#include "tools/hearth/corpus.h"

namespace hearth::tools {

// Runs a chunk from an empty context.
void evaluate_chunk(runtime::Engine& engine, runtime::Session& session,
                    std::span<const TokenId> chunk);

// The whole corpus, token by token, without weights. `progress` is called with the tokens of each
// chunk that is done and returns false to stop there.
profiler::RoutingTrace route_corpus(runtime::Engine& engine, const Corpus& corpus,
                                    const profiler::TraceHeader& header,
                                    const std::function<bool(std::uint64_t)>& progress);

// A decision of one row; that of the first layer begins the next step.
void add_row(profiler::RoutingTrace& trace, const profiler::Routing& row);

}  // namespace hearth::tools
