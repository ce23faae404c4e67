#include "tools/hearth/routed_corpus.h"

#include <algorithm>

#include "tools/hearth/token_by_token.h"

namespace hearth::tools {

void evaluate_chunk(runtime::Engine& engine, runtime::Session& session,
                    std::span<const TokenId> chunk) {
  const std::size_t batch = engine.plan().batch;
  session.reset();
  while (!chunk.empty()) {
    std::size_t count = std::min(batch, chunk.size());
    // A step of a single token would count as a generated one.
    if (chunk.size() - count == 1 && count > 2) --count;
    session.evaluate(chunk.first(count));
    chunk = chunk.subspan(count);
  }
}

profiler::RoutingTrace route_corpus(runtime::Engine& engine, const Corpus& corpus,
                                    const profiler::TraceHeader& header,
                                    const std::function<bool(std::uint64_t)>& progress) {
  profiler::TraceHeader without_weights = header;
  without_weights.has_weights = false;
  profiler::RoutingTrace trace(without_weights);
  TokenByToken rows(header, [&](const profiler::Routing& row) { add_row(trace, row); });
  runtime::Session session(engine);
  session.on_routed([&](const profiler::Routing& routing) { rows.add(routing); });
  for (std::size_t i = 0; i < corpus.chunks(); ++i) {
    evaluate_chunk(engine, session, corpus.chunk(i));
    if (!progress(corpus.chunk(i).size())) break;
  }
  return trace;
}

void add_row(profiler::RoutingTrace& trace, const profiler::Routing& row) {
  if (row.layer == trace.header().layers.front().layer)
    trace.begin_step({.position = row.position, .rows = 1});
  trace.add(row);
}

}  // namespace hearth::tools
