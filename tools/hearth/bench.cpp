// hearth bench: speed of prefill and decode, with what the expert memory and the disk did for it.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "tools/hearth/bench_measure.h"
#include "tools/hearth/bench_points.h"
#include "tools/hearth/bench_report.h"
#include "tools/hearth/bench_routing.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/routing_flags.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

struct BenchOptions {
  EngineFlags engine;
  RoutingFlags routing;
  BenchLists lists;
  BenchSettings settings;
  std::optional<std::string> corpus;
  std::optional<std::string> forced_routing;  // a trace
  std::uint64_t seed = 1;
  std::string decode = "forced";
  std::string format = "md";
  std::optional<double> in_memory_tok_s;
  bool no_warmup = false;
  bool cold = false;
  bool progress = false;
};

void add_test_flags(CommandLine& line, BenchOptions& o) {
  line.group("Tests");
  line.add({.names = "-p,--n-prompt", .value = "N,...", .help = "prompts of so many tokens"},
           o.lists.prompts);
  line.add({.names = "-n,--n-gen", .value = "N,...", .help = "so many single tokens"},
           o.lists.generations);
  line.add({.names = "--n-prompt-gen", .value = "P,N", .help = "a prompt, then tokens; repeatable"},
           o.lists.pairs);
  line.add(
      {.names = "-d,--n-depth", .value = "N,...", .help = "tokens before each test, not timed"},
      o.lists.depths);
  line.add({.names = "-r,--repetitions", .value = "N", .help = "of each test"},
           o.settings.repetitions);
  line.add({.names = "--no-warmup", .help = "begin with whatever is in expert memory"},
           o.no_warmup);
  line.add({.names = "--cold",
            .help = "before every repetition, expert memory as after loading: empty or seeded"},
           o.cold);
  line.group("Tokens");
  line.add({.names = "-f,--file", .value = "FILE", .help = "take the tokens of this text"},
           o.corpus);
  line.add({.names = "-s,--seed", .value = "N", .help = "of random tokens, where there is no text"},
           o.seed);
  line.add({.names = "--routing",
            .value = "TRACE",
            .help = "take experts from this trace instead of the routers; no prefetch then"},
           o.forced_routing);
  line.add({.names = "--decode",
            .value = "NAME",
            .help = "tokens that follow: those of the text, or the likeliest",
            .choices = {"forced", "greedy"}},
           o.decode);
  line.group("Output");
  line.add({.names = "-o,--output",
            .value = "FORMAT",
            .help = "format of the results",
            .choices = {"md", "csv", "json", "jsonl"}},
           o.format);
  line.add({.names = "--in-memory-tok-s",
            .value = "X",
            .help = "speed with all experts in memory, to compare with"},
           o.in_memory_tok_s);
  line.add({.names = "--progress", .help = "say on standard error what is being measured"},
           o.progress);
}

bool parse(const Arguments& arguments, BenchOptions& o) {
  CommandLine line("bench",
                   "Measure prefill and decode as llama-bench does, and what each link did.");
  o.engine.add_to(line);
  add_test_flags(line, o);
  o.routing.add_to(line);
  if (!line.parse(arguments)) return false;
  o.routing.check();
  if (o.settings.repetitions == 0)
    throw_error(ErrorCode::kUsage, "--repetitions must be at least 1");
  if (o.cold && o.no_warmup)
    throw_error(ErrorCode::kUsage, "--cold has no warm-up; leave out --no-warmup");
  if (o.corpus && line.given("--seed"))
    throw_error(ErrorCode::kUsage, "--seed has no effect on the tokens of --file; leave it out");
  if (o.forced_routing && line.given("--prefetch") && o.engine.prefetch == "on")
    throw_error(ErrorCode::kUsage,
                "--prefetch on asks the routers, whose choices --routing replaces; leave it out");
  if (o.forced_routing) o.engine.prefetch = "off";
  if (o.in_memory_tok_s && *o.in_memory_tok_s <= 0)
    throw_error(ErrorCode::kUsage, "--in-memory-tok-s must be above 0");
  o.settings.greedy = o.decode == "greedy";
  o.settings.cache = o.cold        ? CacheState::kCold
                     : o.no_warmup ? CacheState::kAsItIs
                                   : CacheState::kWarm;
  return true;
}

std::vector<TokenId> corpus_tokens(const std::string& path, const runtime::Tokenizer& tokenizer,
                                   std::size_t needed) {
  const std::vector<TokenId> tokens =
      tokenizer.encode(read_text(path), {.add_special = true, .parse_special = false});
  if (tokens.size() < needed)
    throw_error(ErrorCode::kBadInput, "{}: has {} tokens, the tests need {}; give a longer text",
                path, tokens.size(), needed);
  return tokens;
}

std::vector<TokenId> random_tokens(std::uint64_t seed, std::uint32_t vocabulary,
                                   std::size_t needed) {
  fmt::print(stderr,
             "note      random tokens visit experts more evenly than text does, so that expert "
             "memory helps less; give a text with --file\n");
  Random random(seed);
  std::vector<TokenId> tokens(needed);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(vocabulary));
  return tokens;
}

// "qwen3moe 47.5 M Q4_K": the format is that of most bytes.
std::string model_type(const ModelSummary& summary) {
  std::string most;
  Bytes bytes;
  for (const auto& [name, use] : summary.formats)
    if (use.bytes && *use.bytes > bytes) most = name, bytes = *use.bytes;
  return fmt::format("{} {} {}", printable(summary.architecture), format_count(summary.parameters),
                     most);
}

void note_seeding(CacheState cache) {
  constexpr std::string_view kWhen[] = {"before the warm-up of every test",
                                        "before every repetition",
                                        "once, before the first test"};  // by CacheState
  fmt::print(stderr, "note      the experts of the profile are loaded again {}, untimed\n",
             kWhen[static_cast<std::size_t>(cache)]);
}

BenchSetup describe(runtime::Engine& engine, const BenchOptions& o) {
  const ModelSummary summary = summarize(engine.file());
  if (!engine.io_is_direct())
    fmt::print(stderr,
               "note      reads go through the page cache, so that what is read twice comes from "
               "memory; the disk figures are the cache's\n");
  const runtime::LinkPeaks peaks = runtime::measure_link_peaks(engine);
  engine.restore_seed();
  if (!engine.seed().empty()) note_seeding(o.settings.cache);
  if (!runtime::reset_peak_memory())
    fmt::print(stderr, "note      the peak of memory includes what measuring the links took\n");
  return {.engine = engine,
          .model_path = o.engine.model,
          .model_type = model_type(summary),
          .parameters = summary.parameters,
          .settings = o.settings,
          .token_source = o.corpus ? "corpus" : "random",
          .routing = "router",
          .peaks = peaks,
          .in_memory_tok_s = o.in_memory_tok_s};
}

// A disk that others share changes its speed within seconds: what a test is compared with is the
// mean of what was measured before and after it.
void measure_again(runtime::Engine& engine, runtime::LinkPeaks& peaks) {
  const runtime::LinkPeaks now = runtime::measure_link_peaks(engine);
  peaks.disk_bytes_per_second = (peaks.disk_bytes_per_second + now.disk_bytes_per_second) / 2;
  peaks.ram_bytes_per_second = std::max(peaks.ram_bytes_per_second, now.ram_bytes_per_second);
}

}  // namespace

int bench(const Arguments& arguments) {
  BenchOptions o;
  if (!parse(arguments, o)) return 0;
  const std::vector<BenchPoint> points = bench_points(o.lists);
  const std::uint32_t positions = longest(points);
  if (o.engine.context == 0) o.engine.context = positions;

  const InterruptGuard interrupt;
  const auto engine = o.engine.open();
  const std::vector<TokenId> tokens =
      o.corpus ? corpus_tokens(*o.corpus, engine->tokenizer(), positions)
               : random_tokens(o.seed, engine->config().vocabulary,
                               std::size_t{positions} * (o.settings.repetitions + 1));
  std::unique_ptr<runtime::ForcedRouting> routing;
  if (o.forced_routing) routing = open_forced_routing(*o.forced_routing, *engine, positions);
  o.settings.routing = routing.get();
  BenchSetup setup = describe(*engine, o);
  if (routing) setup.routing = describe_routing(*o.forced_routing, *routing);
  BenchRunner runner(*engine, tokens, o.settings, [&] { interrupt.throw_if_interrupted(); });
  RoutingRecording recording(o.routing, *engine, runner.session());
  BenchReport report(stdout, *parse_bench_format(o.format));
  for (const BenchPoint& point : points) {
    if (o.progress) fmt::print(stderr, "measuring {}\n", point.name());
    const BenchResult result = runner.run(point);
    if (o.settings.cache != CacheState::kAsItIs) measure_again(*engine, setup.peaks);
    report.add(bench_record(setup, result));
  }
  report.finish();
  fmt::print(stderr, "tokens    {}, decode {}\n", setup.token_source, o.decode);
  const auto peak = [](double rate) {
    return rate > 0 ? fmt::format("{:.2f} GB/s", rate / 1e9) : std::string("not measured");
  };
  fmt::print(stderr, "peaks     disk {}, memory {}; process {} of {} planned\n",
             peak(setup.peaks.disk_bytes_per_second), peak(setup.peaks.ram_bytes_per_second),
             format_size(runtime::peak_memory()), format_size(engine->plan().ram.total()));
  recording.finish();
  return 0;
}

}  // namespace hearth::tools
