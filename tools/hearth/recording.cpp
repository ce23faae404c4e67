#include "tools/hearth/recording.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "profiler/profile_toml.h"
#include "runtime/model_identity.h"
#include "runtime/trace_header.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/routed_corpus.h"

namespace hearth::tools {
namespace {

std::uint64_t fingerprint_of(const Corpus& corpus, const RecordingOptions& options) {
  const std::string rest =
      fmt::format("{}\n{}\n{}", options.workload, options.replay_tokens, options.trace_path);
  return XXH3_64bits_withSeed(rest.data(), rest.size(), corpus.fingerprint());
}

std::uint64_t keep_every(std::uint64_t corpus_tokens, std::uint64_t replay_tokens) {
  return replay_tokens == 0 ? 0 : (corpus_tokens + replay_tokens - 1) / replay_tokens;
}

profiler::TraceHeader without_weights(profiler::TraceHeader header) {
  header.has_weights = false;
  return header;
}

std::string kept_path_of(const std::string& recording_path) { return recording_path + ".trace"; }

void copy_step(const profiler::RoutingTrace& from, std::size_t step,
               const std::function<void(const profiler::Routing&)>& to) {
  for (std::size_t layer = 0; layer < from.header().layers.size(); ++layer)
    to(from.decision(step, layer));
}

// A trace file that begins with the first `rows` of what is there, each a step, and goes on. The
// old file stays until the new one has all that. Throws Error(kBadFile) where there are fewer.
std::unique_ptr<profiler::TraceWriter> continue_trace(
    const std::string& path, const profiler::TraceHeader& header, std::uint64_t rows,
    const std::function<void(const profiler::Routing&)>& also = {}) {
  if (rows == 0) return std::make_unique<profiler::TraceWriter>(path, header, 1);
  const profiler::RoutingTrace old = profiler::read_trace(path).trace;
  if (old.steps() < rows || old.steps() != old.rows())
    throw_error(ErrorCode::kBadFile,
                "{}: has changed since it was recorded; begin anew with "
                "--restart",
                path);
  const std::string beside = path + ".new";
  auto writer = std::make_unique<profiler::TraceWriter>(beside, header, 1);
  for (std::size_t step = 0; step < rows; ++step)
    copy_step(old, step, [&](const profiler::Routing& row) {
      writer->add(row);
      if (also) also(row);
    });
  writer->flush();
  std::filesystem::rename(beside, path);
  return writer;
}

}  // namespace

Recording::Recording(runtime::Engine& engine, const Corpus& corpus, const RecordingOptions& options)
    : engine_(engine),
      corpus_(corpus),
      options_(options),
      recording_path_(recording_path_of(options.profile_path)),
      header_(runtime::trace_header_of(engine.model(), runtime::identity_of(engine.file()),
                                       options.workload)),
      kept_header_(without_weights(header_)),
      fingerprint_(fingerprint_of(corpus, options)),
      keep_every_(keep_every(corpus.tokens(), options.replay_tokens)),
      session_(engine),
      rows_(header_, [this](const profiler::Routing& row) { keep(row); }),
      replaces_(options.restart) {
  std::optional<RecordingState> state;
  if (!options_.restart) state = load_recording(recording_path_);
  kept_.emplace(kept_header_);
  if (state)
    continue_from(*state);
  else
    begin();
  session_.on_routed([this](const profiler::Routing& routing) {
    recorder_->observe(routing);
    if (trace_ != nullptr || keeps_chunk()) rows_.add(routing);
  });
}

void Recording::begin() {
  recorder_.emplace(empty_profile_of(header_), options_.workload);
  if (keep_every_ != 0) kept_file_ = continue_trace(kept_path_of(recording_path_), kept_header_, 0);
  if (!options_.trace_path.empty()) trace_ = continue_trace(options_.trace_path, header_, 0);
}

void Recording::continue_from(const RecordingState& state) {
  profiler::check_profile_of(state.profile, header_.model, experts_of_layers(header_),
                             recording_path_);
  if (state.fingerprint != fingerprint_ || state.chunks > corpus_.chunks() ||
      state.tokens != corpus_.tokens_before(state.chunks))
    throw_error(
        ErrorCode::kBadInput,
        "{}: another recording was begun there ({} of {} tokens of workload '{}'); give its "
        "arguments to continue it, or --restart",
        recording_path_, state.tokens, state.all_tokens, printable(state.workload));
  recorder_.emplace(state.profile, options_.workload);
  if (keep_every_ != 0)
    kept_file_ = continue_trace(kept_path_of(recording_path_), kept_header_, state.kept_rows,
                                [this](const profiler::Routing& row) { add_row(*kept_, row); });
  if (!options_.trace_path.empty())
    trace_ = continue_trace(options_.trace_path, header_, state.tokens);
  chunk_ = state.chunks;
  replaces_ = state.replaces;
}

void Recording::keep(const profiler::Routing& row) {
  if (trace_ != nullptr) trace_->add(row);
  if (!keeps_chunk()) return;
  add_row(*kept_, row);
  kept_file_->add(row);
}

void Recording::run_chunk() {
  evaluate_chunk(engine_, session_, corpus_.chunk(chunk_));
  ++chunk_;
}

void Recording::save() {
  if (kept_file_ != nullptr) kept_file_->flush();
  if (trace_ != nullptr) trace_->flush();
  save_recording(recording_path_, {.fingerprint = fingerprint_,
                                   .workload = options_.workload,
                                   .chunks = chunk_,
                                   .tokens = tokens(),
                                   .all_tokens = corpus_.tokens(),
                                   .kept_rows = kept_->rows(),
                                   .replaces = replaces_ || done(),
                                   .profile = profile()});
}

void Recording::finish() {
  if (trace_ != nullptr) trace_->finish();
  kept_file_.reset();
  std::filesystem::remove(kept_path_of(recording_path_));
  std::filesystem::remove(recording_path_);
}

}  // namespace hearth::tools
