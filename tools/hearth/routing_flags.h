// What becomes of the routing of a run, besides being computed: the flags, and the recording.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "profiler/trace_file.h"
#include "runtime/session.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/profile_learning.h"

namespace hearth::tools {

// Throws Error(kUsage) for what is no label: empty, long, or not printable.
void check_workload(const std::string& label);

struct RoutingFlags {
  void add_to(CommandLine& line);
  void add_learning_to(CommandLine& line);  // for what runs real texts
  // After parsing. Throws Error(kUsage).
  void check() const;

  std::optional<std::string> trace;
  std::optional<std::string> workload;
  bool learn = false;
};

// Records what a session routes, where the flags ask for it. The session computes nothing any more
// once this is gone.
class RoutingRecording {
 public:
  // Throws Error(kIo) where the trace cannot be created.
  // `learned`: the profile that --learn goes on with.
  RoutingRecording(const RoutingFlags& flags, const runtime::Engine& engine,
                   runtime::Session& session, const std::string& learned = {});

  void between_tokens();  // saves what is due

  // Completes the files and says on stderr what they hold; throws Error(kIo) if they are not
  // complete. Without it, as after an interruption, they hold all whole steps.
  void finish();

 private:
  std::string path_;
  std::unique_ptr<profiler::TraceWriter> trace_;
  std::unique_ptr<ProfileLearning> learning_;
};

}  // namespace hearth::tools
