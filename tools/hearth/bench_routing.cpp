#include "tools/hearth/bench_routing.h"

#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "profiler/trace_file.h"
#include "runtime/model_identity.h"

namespace hearth::tools {

std::unique_ptr<runtime::ForcedRouting> open_forced_routing(const std::string& path,
                                                            const runtime::Engine& engine,
                                                            std::uint64_t needed) {
  profiler::TraceReadResult read = profiler::read_trace(path);
  auto routing =
      std::make_unique<runtime::ForcedRouting>(std::move(read.trace), engine.model(), path);
  if (routing->rows() < needed)
    throw_error(ErrorCode::kBadInput, "{}: has {} tokens, the tests need {}; give a longer trace",
                path, routing->rows(), needed);
  fmt::print(stderr,
             "note      experts are those of {}, {}, and not what the routers choose: the answer "
             "means nothing, and prefetch, which asks the routers, is off\n",
             printable(path), printable(routing->header().origin));
  if (const auto other =
          profiler::difference(routing->header().model, runtime::identity_of(engine.file())))
    fmt::print(stderr, "note      the trace {}; its routing is used all the same\n", *other);
  return routing;
}

std::string describe_routing(const std::string& path, const runtime::ForcedRouting& routing) {
  return fmt::format("forced (trace {}, {})",
                     printable(std::filesystem::path(path).filename().string()),
                     printable(routing.header().origin));
}

}  // namespace hearth::tools
