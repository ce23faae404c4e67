// hearth profile check: what a profile promises, and whether a text that it has not seen keeps it.
#include "profiler/profile_check.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "profiler/profile_toml.h"
#include "profiler/trace_file.h"
#include "runtime/model_identity.h"
#include "runtime/trace_header.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/flag_value.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_verbs.h"
#include "tools/hearth/routed_corpus.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

struct CheckOptions {
  EngineFlags engine;
  std::string profile;
  std::vector<std::string> files;
  std::string trace;
  std::uint64_t tokens = 8192;
  std::string budgets = "10%,25%,50%,75%";
};

// "10%,25%" as parts of all experts, ascending.
std::vector<double> parse_shares(const std::string& list) {
  std::vector<double> shares;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string item = list.substr(begin, end - begin);
    const SizeOrShare value = parse_for("--budget", [&] { return parse_size_or_share(item); });
    if (value.size || value.share >= 1)
      throw_error(
          ErrorCode::kUsage,
          "--budget: '{}' is no part of all experts; give percentages below 100, as 10%,25%",
          printable(item));
    shares.push_back(value.share);
    begin = end + 1;
  }
  std::sort(shares.begin(), shares.end());
  shares.erase(std::unique(shares.begin(), shares.end()), shares.end());
  return shares;
}

bool parse(const Arguments& arguments, CheckOptions& o) {
  CommandLine line(
      "profile check",
      "Judge a profile: how uneven routing is, what part of it a memory for some experts "
      "hits, and what is right here.\nWith --file or --trace on routing that the profile "
      "has not seen, else on its own.");
  o.engine.context = 512;
  o.engine.model_required = false;
  line.add({.names = "PROFILE",
            .value = "FILE",
            .help = "a profile, or the model it lies beside",
            .required = true},
           o.profile);
  line.add(
      {.names = "--budget", .value = "LIST", .help = "parts of all experts that are in memory"},
      o.budgets);
  line.add({.names = "--trace", .value = "FILE", .help = "a recorded trace to check it on"},
           o.trace);
  line.add({.names = "-f,--file",
            .value = "FILE",
            .help = "a text to check it on, run through --model; more than one may be given"},
           o.files);
  line.add({.names = "-n,--tokens", .value = "N", .help = "of the text, at most"}, o.tokens);
  o.engine.add_to(line);
  if (!line.parse(arguments)) return false;
  if (!o.files.empty() && !o.trace.empty())
    throw_error(ErrorCode::kUsage, "--file and --trace both give the routing; give one of them");
  if (!o.files.empty() && o.engine.model.empty())
    throw_error(ErrorCode::kUsage, "--file needs --model, to be run through it");
  if (o.files.empty())
    for (const std::string_view group : {"Model", "Memory", "Compute", "Experts"})
      if (const std::string flag = line.given_in(group); !flag.empty())
        throw_error(ErrorCode::kUsage, "{} has no effect without --file; leave it out", flag);
  if (o.files.empty() && line.given("--tokens"))
    throw_error(ErrorCode::kUsage, "--tokens has no effect without --file; leave it out");
  return true;
}

profiler::RoutingTrace route_texts(const CheckOptions& o, const profiler::NamedProfile& profile) {
  const auto engine = o.engine.open();
  const InterruptGuard interrupt;  // until here there is nothing to finish
  const profiler::ModelIdentity model = runtime::identity_of(engine->file());
  profiler::check_profile_of(profile.profile, model, profile.name);
  const Corpus corpus(o.files, engine->tokenizer(),
                      {.chunk = engine->plan().context, .most_tokens = o.tokens});
  Progress progress(stderr, "routing", corpus.tokens(), 0);
  profiler::RoutingTrace trace =
      route_corpus(*engine, corpus, runtime::trace_header_of(engine->model(), model, "held out"),
                   [&](std::uint64_t tokens) {
                     progress.advance(tokens);
                     return !interrupt.interrupted();
                   });
  interrupt.throw_if_interrupted();
  return trace;
}

std::optional<profiler::RoutingTrace> held_out_trace(const CheckOptions& o,
                                                     const profiler::NamedProfile& profile) {
  if (!o.trace.empty()) return profiler::read_trace(o.trace).trace;
  if (!o.files.empty()) return route_texts(o, profile);
  return {};
}

void print_budgets(const profiler::ProfileCheck& check) {
  if (check.budgets.empty()) return;
  fmt::print("\nhit rate  of {} tokens of {} routing, %\n", format_grouped(check.replayed_tokens),
             check.held_out ? "held-out" : "the profile's own");
  fmt::print("{:<9} {:>9} {:>7} {:>7} {:>7}  {:<14} {:>7}", "in memory", "promised", "static",
             "lru", "best", "policy", "belady");
  if (check.held_out)
    fmt::print("   first {}: {:>6} {:>7}", profiler::kStartSteps, "empty", "seeded");
  fmt::print("\n");
  for (const profiler::BudgetCheck& budget : check.budgets) {
    fmt::print("{:>7.3g} % {:9.1f} {:7.1f} {:7.1f} {:7.1f}  {:<14} {:7.1f}", 100 * budget.share,
               100 * budget.promised, 100 * budget.static_set, 100 * budget.lru, 100 * budget.best,
               budget.best_policy, 100 * budget.belady);
    if (check.held_out)
      fmt::print("   {:9} {:6.1f} {:7.1f}", "", 100 * budget.start_empty,
                 100 * budget.start_seeded);
    fmt::print("\n");
  }
}

void print_check(const profiler::NamedProfile& profile, const profiler::ProfileCheck& check) {
  fmt::print("profile   {}: {}\nmodel     {}\n", profile.name, workloads_text(profile.profile),
             model_text(profile.profile));
  fmt::print("\n{:<9} {:>7} {:>7} {:>10} {:>10} {:>8} {:>6} {:>14}\n", "layer", "experts", "used",
             "50 % need", "90 % need", "entropy", "Gini", "again within 8");
  const auto row = [](const std::string& title, const profiler::LayerSkew& skew) {
    fmt::print("{:<9} {:>7} {:>7} {:>10} {:>10} {:8.3f} {:6.3f} {:12.1f} %\n", title, skew.experts,
               skew.used, skew.for_half, skew.for_nine_tenths, skew.entropy, skew.gini,
               100 * skew.reused_soon);
  };
  for (const profiler::LayerSkew& skew : check.layers) row(std::to_string(skew.layer), skew);
  row("all", check.total);
  print_budgets(check);
  fmt::print("\n");
  for (const std::string& finding : profiler::findings_of(check)) fmt::print("{}\n", finding);
}

}  // namespace

int profile_check(const Arguments& arguments) {
  CheckOptions options;
  if (!parse(arguments, options)) return 0;
  const std::vector<double> shares = parse_shares(options.budgets);
  const profiler::NamedProfile profile = load_named_profile(options.profile);
  const std::optional<profiler::RoutingTrace> held_out = held_out_trace(options, profile);
  print_check(profile,
              profiler::check_profile(profile.profile, held_out ? &*held_out : nullptr, shares));
  return 0;
}

}  // namespace hearth::tools
