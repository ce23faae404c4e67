// A corpus on its way through a model, and the profile that comes of it. What was done is saved now
// and then, and a later recording of the same corpus continues there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "profiler/expert_profile.h"
#include "profiler/routing_trace.h"
#include "profiler/trace_file.h"
#include "runtime/session.h"
#include "tools/hearth/corpus.h"
#include "tools/hearth/recording_state.h"
#include "tools/hearth/token_by_token.h"

namespace hearth::tools {

struct RecordingOptions {
  std::string profile_path;  // where the partial recording lies beside
  std::string workload;
  std::string trace_path;           // empty: the whole trace is not written
  std::uint64_t replay_tokens = 0;  // at most so many, and a chunk, are kept for the replay
  bool restart = false;  // what an earlier recording left is ignored, and a profile replaced
};

// Whole chunks only are recorded: an interruption costs the chunk that was begun and what was not
// saved, and what is continued is exactly what would have been recorded at once, but for two
// things that the profile keeps in a rounded form: partners and `recent` (see expert_profile.h).
class Recording {
 public:
  // Throws Error(kBadInput) where the partial recording that lies there is another one.
  Recording(runtime::Engine& engine, const Corpus& corpus, const RecordingOptions& options);

  std::uint64_t tokens() const { return corpus_.tokens_before(chunk_); }  // done
  bool done() const { return chunk_ == corpus_.chunks(); }
  void run_chunk();

  void save();
  profiler::ExpertProfile profile() const { return recorder_->profile(); }
  // Chunks from all parts of the corpus, token by token.
  const profiler::RoutingTrace& kept() const { return *kept_; }
  void finish();  // completes the trace and removes what was there for a continuation

 private:
  void begin();
  void continue_from(const RecordingState& state);
  void keep(const profiler::Routing& row);
  bool keeps_chunk() const { return keep_every_ != 0 && chunk_ % keep_every_ == 0; }

  runtime::Engine& engine_;
  const Corpus& corpus_;
  const RecordingOptions options_;
  const std::string recording_path_;
  const profiler::TraceHeader header_;
  const profiler::TraceHeader kept_header_;  // without weights, which no replay looks at
  const std::uint64_t fingerprint_;
  const std::uint64_t keep_every_;  // n-th chunk is kept; 0: none

  runtime::Session session_;
  std::optional<profiler::ProfileRecorder> recorder_;
  std::optional<profiler::RoutingTrace> kept_;
  std::unique_ptr<profiler::TraceWriter> kept_file_;  // a copy, for a continuation
  std::unique_ptr<profiler::TraceWriter> trace_;
  TokenByToken rows_;
  std::size_t chunk_ = 0;  // the next one
  bool replaces_;
};

}  // namespace hearth::tools
