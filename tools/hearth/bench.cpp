// hearth bench: speed of prefill and decode, with what the expert memory and the disk did for it.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "runtime/gpu/device_model.h"
#include "tools/hearth/bench_kv.h"
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
  std::optional<std::string> kv;  // pairs of formats to compare instead
  std::optional<std::string> fill;
  std::optional<std::uint32_t> chunks;
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
  line.add({.names = "--fill",
            .value = "NAME",
            .help = "what these are: random keys and values, or a computed prompt (if not given: "
                    "random with --kv, else prefill)",
            .choices = {"random", "prefill"}},
           o.fill);
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
            .value = "FILE",
            .help = "take experts from this trace instead of the routers; no prefetch then"},
           o.forced_routing);
  line.add({.names = "--decode",
            .value = "NAME",
            .help = "tokens that follow: those of the text, or the likeliest",
            .choices = {"forced", "greedy"}},
           o.decode);
  line.group("Formats of keys and values");
  line.add({.names = "--kv",
            .value = "all|PAIR,...",
            .help = "compare these (q8_0/q4_0: of keys and of values), a row for each: bytes, "
                    "decoding at the depths (0,4096,32768 and 32 tokens if not given), with a text "
                    "the divergence from f32"},
           o.kv);
  line.add({.names = "--chunks",
            .value = "N",
            .help = "compare predictions on so many chunks of 1024 tokens at most (4)"},
           o.chunks);
  line.group("Output");
  line.add({.names = "-o,--output",
            .value = "FORMAT",
            .help = "format of the results",
            .choices = {"md", "csv", "json", "jsonl"}},
           o.format);
  line.add({.names = "--lane-times",
            .help = "of a GPU: single tokens once more, to time what is in VRAM, link and CPU"},
           o.settings.lane_times);
  line.add({.names = "--in-memory-tok-s",
            .value = "X",
            .help = "speed with all experts in memory, to compare with"},
           o.in_memory_tok_s);
  line.add({.names = "--progress", .help = "say on standard error what is being measured"},
           o.progress);
}

// What a comparison of formats cannot do, and what only it can.
void check_kv(const BenchOptions& o, const CommandLine& line) {
  const auto refuse = [&](std::initializer_list<const char*> flags, std::string_view why) {
    for (const char* flag : flags)
      if (line.given(flag)) throw_error(ErrorCode::kUsage, "{} {}", flag, why);
  };
  if (!o.kv) return refuse({"--chunks"}, "has an effect with --kv only; leave it out");
  refuse({"--n-prompt", "--n-prompt-gen", "--no-warmup", "--cold", "--routing", "--decode",
          "--in-memory-tok-s", "--lane-times", "--cache-type-k", "--cache-type-v", "--plan",
          "--trace", "--workload"},
         "has no effect on --kv, which decodes with pairs of formats; leave it out");
  if (o.chunks && !o.corpus)
    throw_error(ErrorCode::kUsage, "--chunks is of a text; give one with --file");
  if (o.chunks == 0u) throw_error(ErrorCode::kUsage, "--chunks must be at least 1");
  const std::vector<KvPair> pairs = parse_kv_pairs(*o.kv);
  if (std::ranges::none_of(pairs, &KvPair::quantized))
    refuse({"--kv-tail", "--kv-rotation"},
           "has an effect on quantized formats only, and --kv has none; leave it out");
}

void compare_formats(const BenchOptions& o, const CommandLine& line) {
  const std::string fill = o.fill.value_or("random");
  KvBenchOptions kv{.engine = o.engine,
                    .pairs = parse_kv_pairs(*o.kv),
                    .depths = parse_counts(
                        "--n-depth", line.given("--n-depth") ? o.lists.depths : "0,4096,32768"),
                    .generate = 32,
                    .repetitions = o.settings.repetitions,
                    .prefill = fill == "prefill",
                    .text = o.corpus,
                    .chunks = o.chunks.value_or(4),
                    .seed = o.seed,
                    .format = *parse_bench_format(o.format),
                    .progress = o.progress};
  if (line.given("--n-gen")) {
    const std::vector<std::uint32_t> tokens = parse_counts("--n-gen", o.lists.generations);
    if (tokens.size() != 1)
      throw_error(ErrorCode::kUsage, "--n-gen {}: --kv takes one number", o.lists.generations);
    kv.generate = tokens.front();
  }
  if (kv.generate == 0 && !kv.text)
    throw_error(ErrorCode::kUsage, "nothing to measure; give --n-gen above 0, or a text (--file)");
  for (const char* flag : {"--n-depth", "--repetitions", "--fill"})
    if (kv.generate == 0 && line.given(flag))
      throw_error(ErrorCode::kUsage, "{} has no effect with --n-gen 0; leave one out", flag);
  bench_kv(kv);
}

bool decodes_nothing(const BenchOptions& o) {
  return std::ranges::all_of(bench_points(o.lists),
                             [](const BenchPoint& point) { return point.generate == 0; });
}

// False where there is nothing left to do.
bool parse(const Arguments& arguments, BenchOptions& o) {
  CommandLine line("bench",
                   "Measure prefill and decode as llama-bench does, and what each link did.");
  o.engine.add_to(line);
  add_test_flags(line, o);
  o.routing.add_to(line);
  if (!line.parse(arguments)) return false;
  o.routing.check();
  check_kv(o, line);
  if (o.settings.repetitions == 0)
    throw_error(ErrorCode::kUsage, "--repetitions must be at least 1");
  if (o.cold && o.no_warmup)
    throw_error(ErrorCode::kUsage, "--cold has no warm-up; leave out --no-warmup");
  const bool random_cache = o.fill.value_or(o.kv ? "random" : "prefill") == "random";
  if (o.corpus && line.given("--seed") && !random_cache)
    throw_error(ErrorCode::kUsage, "--seed has no effect on the tokens of --file; leave it out");
  if (o.forced_routing && line.given("--prefetch") && o.engine.prefetch == "on")
    throw_error(ErrorCode::kUsage,
                "--prefetch on asks the routers, whose choices --routing replaces; leave it out");
  if (o.forced_routing) o.engine.prefetch = "off";
  if (o.in_memory_tok_s && *o.in_memory_tok_s <= 0)
    throw_error(ErrorCode::kUsage, "--in-memory-tok-s must be above 0");
  if (o.kv) return compare_formats(o, line), false;
  if (line.given("--decode") && decodes_nothing(o))
    throw_error(ErrorCode::kUsage,
                "--decode {} is of single tokens, and no test has any; leave it out, or give "
                "--n-gen",
                o.decode);
  if (o.fill && !line.given("--n-depth"))
    throw_error(ErrorCode::kUsage, "--fill {} is what tokens follow on; give --n-depth", *o.fill);
  o.settings.random_depth = random_cache;
  o.settings.seed = o.seed;
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
  Random random(seed);
  std::vector<TokenId> tokens(needed);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(vocabulary));
  return tokens;
}

void note_seeding(CacheState cache) {
  constexpr std::string_view kWhen[] = {"before the warm-up of every test",
                                        "before every repetition",
                                        "once, before the first test"};  // by CacheState
  fmt::print(stderr, "note      the experts of the profile are loaded again {}, untimed\n",
             kWhen[static_cast<std::size_t>(cache)]);
}

void note_unmeasured(const runtime::Engine& engine) {
  if (engine.device_model() == nullptr || engine.device_rates()) return;
  fmt::print(stderr,
             "note      {} was not measured, so that no shares of its rates are stated; run "
             "hearth doctor\n",
             printable(engine.device_model()->device().properties().name));
}

BenchSetup describe(runtime::Engine& engine, const BenchOptions& o) {
  note_unmeasured(engine);
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
          .vram_budget = o.engine.device.vram,
          .gpu = engine.device_rates(),
          .in_memory_tok_s = o.in_memory_tok_s};
}

bool can_time_lanes(const runtime::Engine& engine) {
  if (engine.device_model() == nullptr)
    throw_error(ErrorCode::kUsage, "--lane-times is of a GPU, and none computes; leave it out");
  if (engine.device_model()->host_cache() != nullptr)
    throw_error(ErrorCode::kUsage,
                "--lane-times is of steps that are one graph, and --gpu-cache host has none; leave "
                "one out");
  const kernels::DeviceProperties& device = engine.device_model()->device().properties();
  if (!device.marks_graphs)
    fmt::print(stderr, "note      lanes are not timed: {} takes no moments within a graph\n",
               device.driver);
  return device.marks_graphs;
}

// Of the longest test, those that are computed.
std::uint32_t routed_positions(const std::vector<BenchPoint>& points,
                               const BenchSettings& settings) {
  std::uint32_t most = 0;
  for (const BenchPoint& point : points)
    most = std::max(most, settings.random_depth ? point.tokens() : point.positions());
  return most;
}

// Where a device has its lanes, that empties gigabytes of memory which the next test would fill.
bool worth_measuring(const runtime::Engine& engine, const BenchResult& result) {
  return engine.device_model() == nullptr || result.traffic.read > Bytes(0);
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

  const auto engine = o.engine.open();
  const InterruptGuard interrupt;  // until here there is nothing to finish
  if (!o.corpus && !o.forced_routing)
    fmt::print(stderr,
               "note      random tokens visit experts more evenly than text does, so that expert "
               "memory helps less; give a text with --file\n");
  const std::vector<TokenId> tokens =
      o.corpus ? corpus_tokens(*o.corpus, engine->tokenizer(), positions)
               : random_tokens(o.seed, engine->config().vocabulary,
                               std::size_t{positions} * (o.settings.repetitions + 1));
  std::unique_ptr<runtime::ForcedRouting> routing;
  if (o.forced_routing)
    routing = open_forced_routing(*o.forced_routing, *engine, routed_positions(points, o.settings));
  o.settings.routing = routing.get();
  BenchSetup setup = describe(*engine, o);
  if (routing) setup.routing = describe_routing(*o.forced_routing, *routing);
  if (o.settings.lane_times) o.settings.lane_times = can_time_lanes(*engine);
  BenchRunner runner(*engine, tokens, o.settings, [&] { interrupt.throw_if_interrupted(); });
  RoutingRecording recording(o.routing, *engine, runner.session());
  BenchReport report(stdout, *parse_bench_format(o.format), bench_columns());
  for (const BenchPoint& point : points) {
    if (o.progress) fmt::print(stderr, "measuring {}\n", point.name());
    const BenchResult result = runner.run(point);
    if (o.settings.cache != CacheState::kAsItIs && worth_measuring(*engine, result))
      measure_again(*engine, setup.peaks);
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
