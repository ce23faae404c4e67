// hearth run: a prompt in, text out, token by token; then a report.
#include <filesystem>
#include <iterator>

#include "base/error.h"
#include "base/file_replacement.h"
#include "profiler/profile_toml.h"
#include "runtime/logits_hash.h"
#include "runtime/sampler/sampler.h"
#include "runtime/session.h"
#include "runtime/session_file.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/counting_memory.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/live_status.h"
#include "tools/hearth/prompt_reader.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/routing_flags.h"
#include "tools/hearth/run_report.h"
#include "tools/hearth/sampling_flags.h"
#include "tools/hearth/subcommands.h"
#include "tools/hearth/text_stream.h"

namespace hearth::tools {
namespace {

struct RunOptions {
  EngineFlags engine;
  PromptFlags prompt;
  RoutingFlags routing;
  std::string session;
  std::int64_t predict = -1;
  bool ignore_eos = false;
  bool special = false;
  bool no_report = false;
  SamplingFlags sampling;
};

bool parse(const Arguments& arguments, RunOptions& o) {
  CommandLine line("run", "Generate text from a prompt.");
  o.engine.add_to(line);
  line.group("Generation");
  o.prompt.add_to(line);
  line.add({.names = "-n,--n-predict",
            .value = "N",
            .help = "tokens to generate (-1: until the end or the context is full)"},
           o.predict);
  line.add({.names = "--session",
            .value = "FILE",
            .help = "go on where this file ends, if it is there, and write it at the end",
            .writes = true},
           o.session);
  line.add({.names = "--ignore-eos", .help = "go on after an end-of-text token"}, o.ignore_eos);
  line.add({.names = "--special", .help = "print control tokens, too"}, o.special);
  line.add({.names = "--no-report", .help = "no report at the end"}, o.no_report);
  o.sampling.add_to(line);
  o.routing.add_to(line);
  o.routing.add_learning_to(line);
  if (!line.parse(arguments)) return false;
  if (o.predict < -1)
    throw_error(ErrorCode::kUsage, "--n-predict is {}; give -1 or more", o.predict);
  o.sampling.check();
  o.routing.check();
  return true;
}

std::string status_text(const RunReport& report, const Moment& now) {
  const double elapsed = seconds(now.now - report.prefilled.now);
  const std::uint64_t hits = now.hits - report.prefilled.hits,
                      routed = hits + now.misses - report.prefilled.misses;
  if (routed == 0)  // on a device
    return fmt::format("{} tokens · {:.1f} tok/s", report.generated_tokens,
                       report.generated_tokens / std::max(elapsed, 1e-9));
  return fmt::format("{} tokens · {:.1f} tok/s · experts {:.1f} % in memory · {:.1f} MB/token read",
                     report.generated_tokens, report.generated_tokens / std::max(elapsed, 1e-9),
                     100.0 * static_cast<double>(hits) / static_cast<double>(routed),
                     static_cast<double>((now.read - report.prefilled.read).count) / 1e6 /
                         std::max(report.generated_tokens, 1u));
}

// Every token stands for at most the bytes of the longest one, so that a text far beyond the
// context is refused before it is encoded, which takes forty times its size.
void check_length(const std::string& prompt, const runtime::Engine& engine) {
  const runtime::Tokenizer& tokenizer = engine.tokenizer();
  std::size_t longest = 4;  // of a character, which may become the unknown token
  for (std::size_t id = 0; id < tokenizer.size(); ++id)
    longest = std::max(longest, tokenizer.piece(static_cast<TokenId>(id), true).size());
  const std::size_t least = prompt.size() / longest;
  if (least > engine.plan().context)
    throw_error(
        ErrorCode::kBadInput,
        "the prompt has at least {} tokens, but the context is {}; raise --ctx-size or shorten "
        "the prompt",
        least, engine.plan().context);
}

// What is said before the prompt: nothing, or what the session file holds.
runtime::Timeline begin_timeline(const RunOptions& o, bool resumes, runtime::Engine& engine,
                                 runtime::Session& session) {
  runtime::Timeline timeline;
  if (resumes) {
    timeline = runtime::load_session(o.session, engine, session);
    fmt::print(stderr, "session   goes on after {} tokens of {}\n", timeline.tokens.size(),
               printable(o.session, 400));
  }
  if (!o.session.empty()) timeline.tokens.reserve(session.context());
  return timeline;
}

// The prompt, or of a session that goes on without one what it ended with.
std::span<const float> prefill(PromptReader& reader, runtime::Sampler& sampler,
                               const runtime::Timeline& before, const std::vector<TokenId>& prompt,
                               const RunOptions& o, const InterruptGuard& interrupt) {
  for (const TokenId token : before.tokens) sampler.accept(token);
  for (const TokenId token : prompt) sampler.accept(token);
  if (!before.tokens.empty() && !o.sampling.seed_given()) sampler.resume(before.random);
  if (prompt.empty()) return before.logits;
  const auto logits = reader.read(prompt, [&] { return interrupt.interrupted(); });
  if (logits.empty()) interrupt.throw_if_interrupted();  // there is nothing to keep
  return logits;
}

// What came of it, and what prevented its output from being written, which ends it like Ctrl-C:
// what is kept of a run is kept all the same.
struct Generated {
  RunReport report;
  std::exception_ptr output_lost;
};

// Prompt, then one token at a time until the wanted number, an end of text, a full context or
// Ctrl-C. With a session file every token but an end of text becomes part of the timeline.
Generated generate(runtime::Engine& engine, runtime::Session& session, PromptReader& reader,
                   const std::vector<TokenId>& prompt, const RunOptions& o,
                   RoutingRecording& recording, const InterruptGuard& interrupt,
                   runtime::Timeline& timeline) {
  RunReport report;
  std::exception_ptr output_lost;
  const auto write = [&](auto&& output) {
    try {
      if (!output_lost) output();
    } catch (const std::exception&) {
      output_lost = std::current_exception();
    }
  };
  runtime::Sampler sampler(o.sampling.options(), engine.config().vocabulary, session.context());
  runtime::LogitsHash hash;
  LiveStatus terminal;
  TextStream text(terminal);

  report.prompt_tokens = static_cast<std::uint32_t>(prompt.size());
  report.start = Moment::of(engine, session);
  std::span<const float> logits = prefill(reader, sampler, timeline, prompt, o, interrupt);
  const auto keep = [&](std::span<const TokenId> tokens) {
    if (!o.session.empty())
      timeline.tokens.insert(timeline.tokens.end(), tokens.begin(), tokens.end());
  };
  keep(prompt);
  report.prefilled = Moment::of(engine, session);

  while (o.predict < 0 || report.generated_tokens < o.predict) {
    hash.add(logits);
    const TokenId token = sampler.sample(logits);
    sampler.accept(token);
    report.generated_tokens += 1;
    if (!o.ignore_eos && engine.tokenizer().is_end_of_generation(token)) break;
    write([&] { text.add(engine.tokenizer().piece(token, o.special)); });
    const bool last =
        interrupt.interrupted() || output_lost || report.generated_tokens == o.predict;
    if (session.position() == session.context() || (last && o.session.empty())) break;
    logits = session.evaluate({&token, 1});
    keep({&token, 1});
    if (last) break;
    recording.between_tokens();
    if (const Nanoseconds now = engine.clock().now(); terminal.due(now))
      write([&] { terminal.show(status_text(report, Moment::of(engine, session)), now); });
  }
  report.end = Moment::of(engine, session);
  report.logits_hash = hash.value();
  report.peak_memory = runtime::peak_memory();
  if (!o.session.empty()) {
    timeline.logits.assign(logits.begin(), logits.end());
    timeline.random = sampler.random_state();
  }
  write([&] {
    text.finish();
    if (session.position() == session.context())
      fmt::print(stderr, "stopped: the context of {} tokens is full; raise --ctx-size\n",
                 session.context());
  });
  return {report, output_lost};
}

// The profile that guides the run; where none is to, the one beside the model.
std::string learned_profile(const RunOptions& o) {
  const std::string path = o.engine.profile.path(o.engine.model);
  return path.empty() ? profiler::profile_path_of(o.engine.model) : path;
}

}  // namespace

int run(const Arguments& arguments) {
  RunOptions options;
  if (!parse(arguments, options)) return 0;
  const bool resumes = !options.session.empty() && std::filesystem::exists(options.session);
  const std::string prompt = resumes && !options.prompt.given() ? "" : options.prompt.text();
  const std::string learned = learned_profile(options);
  // Hours later it would be too late to hear that these cannot be written.
  if (!options.session.empty()) const FileReplacement possible(options.session);
  if (options.routing.learn) {
    refuse_standard_output("--profile", learned);
    const FileReplacement possible(learned);
  }
  // What is to be learned first is not there to guide this run.
  if (options.routing.learn && !std::filesystem::exists(learned))
    options.engine.profile.profile = "off";
  if (options.routing.learn) reserve_counting_memory(options.engine);
  const auto engine = options.engine.open();
  const InterruptGuard interrupt;  // until here there is nothing to finish
  check_length(prompt, *engine);
  const std::vector<TokenId> tokens = engine->tokenizer().encode(prompt, {.add_special = !resumes});
  if (tokens.empty() && !resumes)
    throw_error(ErrorCode::kBadInput, "the prompt is empty; give text with --prompt or --file");

  runtime::Session session(*engine);
  ExpertHeat heat(engine->model().experts.space());
  session.on_routed([&](const profiler::Routing& routing) { heat.add(routing); });
  RoutingRecording recording(options.routing, *engine, session, learned);
  runtime::Timeline timeline = begin_timeline(options, resumes, *engine, session);
  PromptReader reader(*engine, session);
  const auto [report, output_lost] =
      generate(*engine, session, reader, tokens, options, recording, interrupt, timeline);
  // What is kept of the run is kept before anything else is tried.
  if (!options.session.empty()) runtime::save_session(options.session, *engine, session, timeline);
  recording.finish();
  if (output_lost) std::rethrow_exception(output_lost);
  if (!options.no_report) print_report(report, *engine, heat, runtime::measure_link_peaks(*engine));
  return interrupt.exit_code();
}

}  // namespace hearth::tools
