// A profile that goes on learning while a model runs: what --learn does.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "profiler/expert_profile.h"
#include "runtime/session.h"

namespace hearth::tools {

// Counting a token allocates nothing. Saving does, between two tokens: after a minute, or later,
// so that it never takes more than 1/500 of the time.
class ProfileLearning {
 public:
  // Goes on with the profile in that file, or begins one where there is none, and says so on
  // stderr. Throws Error where what is there is no profile of this model.
  ProfileLearning(const std::string& path, const runtime::Engine& engine, runtime::Session& session,
                  const std::string& workload);

  void save_when_due();  // between two tokens
  void finish();         // saves, and says on stderr what was learned

 private:
  void save();
  bool changed_by_another() const;

  const std::string path_;
  const Clock& clock_;
  std::uint64_t saved_hash_;  // of the file as it was read or last written; 0: there was none
  profiler::ProfileRecorder recorder_;
  const std::uint64_t tokens_before_;
  bool given_up_ = false;  // another program writes to the file
  Nanoseconds next_save_;
};

}  // namespace hearth::tools
