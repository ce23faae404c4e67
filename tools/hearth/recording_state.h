// How far a recording came, in a file beside the profile it will become, so that the next call goes
// on there: "<profile>.recording".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "profiler/expert_profile.h"

namespace hearth::tools {

struct RecordingState {
  std::uint64_t fingerprint = 0;  // of what is recorded and how
  std::string workload;
  std::uint64_t chunks = 0;      // of the corpus, done
  std::uint64_t tokens = 0;      // in them
  std::uint64_t all_tokens = 0;  // of the corpus
  std::uint64_t kept_rows = 0;   // of those tokens, in the trace that is replayed at the end
  bool replaces = false;         // a profile that is there: as asked for, or by being done
  profiler::ExpertProfile profile;
};

std::string recording_path_of(const std::string& profile_path);

void save_recording(const std::string& path, const RecordingState& state);  // atomically
// Empty where there is no such file. Throws Error(kBadFile) for one that is damaged.
std::optional<RecordingState> load_recording(const std::string& path);

}  // namespace hearth::tools
