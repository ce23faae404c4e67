// hearth profile record: a corpus through a model, its routing into a profile.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/clock.h"
#include "base/error.h"
#include "profiler/policy_choice.h"
#include "profiler/profile_toml.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/counting_memory.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_verbs.h"
#include "tools/hearth/recording.h"
#include "tools/hearth/recording_state.h"
#include "tools/hearth/routing_flags.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

struct RecordOptions {
  EngineFlags engine;
  std::vector<std::string> files;
  std::string output;
  std::string workload;
  std::string trace;
  std::optional<std::uint64_t> tokens;
  std::uint64_t replay_tokens = 8192;
  double save_every = 5;
  bool restart = false;
};

bool parse(const Arguments& arguments, RecordOptions& o) {
  CommandLine line("profile record",
                   "Run texts through a model, --ctx-size tokens at a time, and count what its "
                   "routers choose.\nAn interrupted recording is continued by the same command.");
  o.engine.context = 512;
  o.engine.add_to(line);
  line.group("Recording");
  line.add({.names = "-f,--file",
            .value = "FILE",
            .help = "a text; more than one may be given",
            .required = true},
           o.files);
  line.add({.names = "--workload",
            .value = "LABEL",
            .help = "what kind of text it is, in at most 64 bytes",
            .required = true},
           o.workload);
  line.add({.names = "-o,--output",
            .value = "FILE",
            .help = "the profile (default: MODEL.profile.toml, beside the model)",
            .writes = true},
           o.output);
  line.add({.names = "-n,--tokens", .value = "N", .help = "stop after so many tokens"}, o.tokens);
  line.add({.names = "--trace",
            .value = "FILE",
            .help = "write every choice, too, as if each token had been generated",
            .writes = true},
           o.trace);
  line.add({.names = "--replay-tokens",
            .value = "N",
            .help = "replay so many through every cache policy at the end, for the hit-rate "
                    "curves (0: no curves)"},
           o.replay_tokens);
  line.add({.names = "--save-every",
            .value = "SECONDS",
            .help = "how much an interruption may lose, besides --ctx-size tokens"},
           o.save_every);
  line.add(
      {.names = "--restart", .help = "begin anew, and replace a profile that is there when done"},
      o.restart);
  if (!line.parse(arguments)) return false;
  if (o.tokens && *o.tokens < 2)
    throw_error(ErrorCode::kUsage, "--tokens is {}; give 2 or more", *o.tokens);
  if (o.engine.context == 1) throw_error(ErrorCode::kUsage, "--ctx-size is 1; give 2 or more");
  if (!(o.save_every >= 0))
    throw_error(ErrorCode::kUsage, "--save-every is {}; give 0 or more", o.save_every);
  check_workload(o.workload);
  if (o.output.empty()) o.output = profiler::profile_path_of(o.engine.model);
  return true;
}

// A profile that is complete is not added to in silence, and not replaced either. What is none is
// found here, before a model is loaded and texts run through it for hours.
void check_output(const RecordOptions& o) {
  if (!is_profile_there(o.output) || o.restart) return;
  const std::optional<RecordingState> begun = load_recording(recording_path_of(o.output));
  if (begun && begun->replaces) return;
  throw_error(ErrorCode::kBadInput,
              "{}: a profile is there already; record into another with --output and combine them "
              "with 'hearth profile merge', or replace it with --restart",
              o.output);
}

// Beside the engine and the counts: the tokens of the texts, of which there are no more than bytes,
// and what is kept for the replay: two bytes for each expert chosen, seldom more than 16, twice
// while it grows.
MoreMemory memory_of(const RecordOptions& o) {
  std::uint64_t bytes = 0;
  for (const std::string& file : o.files)
    if (std::error_code error; std::filesystem::is_regular_file(file, error))
      bytes += std::filesystem::file_size(file, error);
  const std::uint64_t tokens = std::min(o.tokens.value_or(UINT64_MAX), bytes);
  return {.per_layer = Bytes(2 * 16 * 2 * std::min(tokens, o.replay_tokens)),
          .in_all = Bytes(tokens * sizeof(TokenId))};
}

// True when done, false after a signal.
bool run(Recording& recording, const Corpus& corpus, const RecordOptions& o,
         const InterruptGuard& interrupt) {
  Progress progress(stderr, "recording", corpus.tokens(), recording.tokens());
  Nanoseconds saved = steady_clock().now();
  while (!recording.done() && !interrupt.interrupted()) {
    const std::uint64_t before = recording.tokens();
    recording.run_chunk();
    progress.advance(recording.tokens() - before);
    const Nanoseconds now = steady_clock().now();
    if (seconds(now - saved) < o.save_every) continue;
    recording.save();
    saved = now;
  }
  recording.save();
  return recording.done();
}

profiler::ExpertProfile with_curves(const Recording& recording) {
  profiler::ExpertProfile profile = recording.profile();
  const profiler::RoutingTrace& kept = recording.kept();
  if (kept.rows() == 0) return profile;
  fmt::print(stderr, "replaying {} tokens through every cache policy\n",
             format_grouped(kept.rows()));
  profile.curves = profiler::measure_curves(kept);
  profile.replayed_tokens = kept.rows();
  return profile;
}

}  // namespace

int profile_record(const Arguments& arguments) {
  RecordOptions options;
  if (!parse(arguments, options)) return 0;
  check_output(options);
  reserve_counting_memory(options.engine, memory_of(options));
  const auto engine = options.engine.open();
  const InterruptGuard interrupt;  // until here there is nothing to finish
  const Corpus corpus(options.files, engine->tokenizer(),
                      {.chunk = engine->plan().context, .most_tokens = options.tokens});
  Recording recording(*engine, corpus,
                      {.profile_path = options.output,
                       .workload = options.workload,
                       .trace_path = options.trace,
                       .replay_tokens = options.replay_tokens,
                       .restart = options.restart});
  if (recording.tokens() > 0)
    fmt::print(stderr, "continuing after {} of {} tokens\n", format_grouped(recording.tokens()),
               format_grouped(corpus.tokens()));
  if (!run(recording, corpus, options, interrupt)) {
    fmt::print(stderr, "stopped after {} of {} tokens; the same command continues there\n",
               format_grouped(recording.tokens()), format_grouped(corpus.tokens()));
    return interrupt.exit_code();
  }
  profiler::save_profile(options.output, with_curves(recording));
  recording.finish();
  fmt::print(stderr, "recorded  {} tokens of '{}' into {}\n", format_grouped(corpus.tokens()),
             printable(options.workload), options.output);
  return 0;
}

}  // namespace hearth::tools
