#include "tools/hearth/routing_flags.h"

#include <cstdio>

#include "base/error.h"
#include "runtime/model_identity.h"
#include "runtime/trace_header.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {

void check_workload(const std::string& label) {
  constexpr std::size_t kMostLabelBytes = 64;
  if (label.empty() || label.size() > kMostLabelBytes || printable(label, kMostLabelBytes) != label)
    throw_error(ErrorCode::kUsage,
                "--workload '{}' is no label; give at most {} bytes on one line, as code or chat",
                printable(label), kMostLabelBytes);
}

void RoutingFlags::add_to(CommandLine& line) {
  line.group("Recording");
  line.add({.names = "--trace",
            .value = "FILE",
            .help = "write the experts chosen for every token, for replay and profiles",
            .writes = true},
           trace);
  line.add({.names = "--workload",
            .value = "LABEL",
            .help = "what kind of text it is, in at most 64 bytes, for what is recorded"},
           workload);
}

void RoutingFlags::add_learning_to(CommandLine& line) {
  line.add({.names = "--learn",
            .help = "count the experts chosen into the profile beside the model, or that of "
                    "--profile, for later runs"},
           learn);
}

void RoutingFlags::check() const {
  if (!workload) return;
  if (!trace && !learn)
    throw_error(ErrorCode::kUsage,
                "--workload labels what is recorded, and nothing is; add --trace FILE");
  check_workload(*workload);
}

RoutingRecording::RoutingRecording(const RoutingFlags& flags, const runtime::Engine& engine,
                                   runtime::Session& session, const std::string& learned)
    : path_(flags.trace.value_or("")) {
  const std::string workload = flags.workload.value_or("default");
  if (flags.learn)
    learning_ = std::make_unique<ProfileLearning>(learned, engine, session, workload);
  if (!flags.trace) return;
  trace_ = std::make_unique<profiler::TraceWriter>(
      path_,
      runtime::trace_header_of(engine.model(), runtime::identity_of(engine.file()), workload),
      engine.plan().batch);
  session.on_routed([this](const profiler::Routing& routing) { trace_->add(routing); });
}

void RoutingRecording::between_tokens() {
  if (learning_ != nullptr) learning_->save_when_due();
}

void RoutingRecording::finish() {
  if (learning_ != nullptr) learning_->finish();
  if (trace_ == nullptr) return;
  trace_->finish();
  fmt::print(stderr, "trace     {} tokens, {}, in {}\n", format_grouped(trace_->rows()),
             format_size(Bytes(trace_->bytes())), printable(path_));
}

}  // namespace hearth::tools
