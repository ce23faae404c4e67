// hearth replay: recorded routing through every cache policy, at several budgets.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/cache_policy.h"
#include "profiler/profile_toml.h"
#include "profiler/seed.h"
#include "profiler/trace_file.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/flag_value.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/machine_flag.h"
#include "tools/hearth/nearest_name.h"
#include "tools/hearth/replay_model.h"
#include "tools/hearth/replay_report.h"
#include "tools/hearth/subcommands.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

constexpr std::string_view kBudgets = "10%,25%,50%,75%";
constexpr SizeOrShare kLearned = {.size = {}, .share = 0.5};
constexpr std::string_view kCurveBudgets = "5%,10%,15%,20%,25%,30%,40%,50%,60%,75%,90%";

struct ReplayFlags {
  std::vector<std::string> traces;
  std::string policies = "all";
  std::optional<std::string> budgets;
  std::optional<SizeOrShare> learn;
  std::uint64_t tokens = 0;
  bool cold = false;
  std::string model, profile, machine, html;
  bool summary = false, csv = false, json = false;
};

void add_flags(ReplayFlags& flags, CommandLine& line) {
  line.add({.names = "--policy", .value = "NAMES", .help = "cache policies, a,b,c, or all"},
           flags.policies);
  line.add({.names = "--budget",
            .value = "LIST",
            .help = "expert memory, as shares of all experts, or sizes with --model (default "
                    "10%,25%,50%,75%; with --html more)"},
           flags.budgets);
  line.group("What is judged");
  line.add({.names = "--learn",
            .value = "PERCENT",
            .help = "first part of each trace that the policy is chosen from (default 50%; with "
                    "--cold or --seed-profile the whole trace is judged)"},
           flags.learn);
  line.add({.names = "-n,--tokens", .value = "N", .help = "of the rest, so many tokens; 0: all"},
           flags.tokens);
  line.add({.names = "--cold", .help = "begin with empty memory"}, flags.cold);
  line.add({.names = "--seed-profile",
            .value = "FILE",
            .help = "begin with the experts of a profile, and choose by it"},
           flags.profile);
  line.group("Sizes and speeds");
  line.add({.names = "-m,--model", .value = "FILE", .help = "model the traces are of"},
           flags.model);
  line.add(
      {.names = "--machine",
       .value = "NAME|FILE|auto",
       .help = "predict tokens per second: one of 'hearth doctor --presets', a machine.toml, or "
               "what hearth doctor measured here"},
      flags.machine);
  line.group("Output");
  line.add({.names = "--summary", .help = "one line for each trace and budget"}, flags.summary);
  line.add({.names = "--csv", .help = "for spreadsheets"}, flags.csv);
  line.add({.names = "--json", .help = "for programs"}, flags.json);
  line.add({.names = "--html", .value = "FILE", .help = "write a page with curves", .writes = true},
           flags.html);
  line.add({.names = "TRACES",
            .value = "FILE...",
            .help = "traces, recorded by 'hearth run --trace' and the like",
            .required = true},
           flags.traces);
}

void check_flags(const ReplayFlags& flags) {
  if (flags.summary + flags.csv + flags.json > 1)
    throw_error(ErrorCode::kUsage, "--summary, --csv and --json exclude one another");
  if (!flags.machine.empty() && flags.model.empty())
    throw_error(ErrorCode::kUsage, "--machine needs --model: what a miss reads depends on it");
  if (flags.cold && !flags.profile.empty())
    throw_error(ErrorCode::kUsage, "--cold and --seed-profile exclude one another");
  if (flags.learn && !flags.profile.empty())
    throw_error(ErrorCode::kUsage,
                "--learn has no effect with --seed-profile, which is what is learned from");
  if (flags.learn && flags.learn->size) throw_error(ErrorCode::kUsage, "--learn is a share: 50%");
}

std::vector<std::string> items(const std::string& list, std::string_view flag) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (end == begin)
      throw_error(ErrorCode::kUsage, "{}: an empty item in '{}'", flag, printable(list));
    all.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return all;
}

std::vector<std::string> chosen_policies(const std::string& list) {
  const auto known = profiler::policy_names();
  const std::vector<std::string> names(known.begin(), known.end());
  if (list == "all") return names;
  std::vector<std::string> policies;
  for (const std::string& name : items(list, "--policy")) {
    if (std::ranges::find(names, name) == names.end()) {
      const std::string_view nearest = nearest_name(name, names);
      throw_error(ErrorCode::kUsage, "--policy: unknown policy '{}'; {}known are {}",
                  printable(name),
                  nearest.empty() ? std::string() : fmt::format("did you mean {}? ", nearest),
                  fmt::join(names, ", "));
    }
    if (std::ranges::find(policies, name) == policies.end()) policies.push_back(name);
  }
  return policies;
}

struct Budget {
  std::string label;
  SizeOrShare amount;
};

std::vector<Budget> chosen_budgets(const ReplayFlags& flags) {
  const std::string list =
      flags.budgets.value_or(std::string(flags.html.empty() ? kBudgets : kCurveBudgets));
  std::vector<Budget> budgets;
  for (const std::string& item : items(list, "--budget")) {
    budgets.push_back({item, parse_for("--budget", [&] { return parse_size_or_share(item); })});
    if (budgets.back().amount.size && flags.model.empty())
      throw_error(ErrorCode::kUsage,
                  "--budget: {} is a size, and only a --model tells how many experts that is; give "
                  "a share like 25%",
                  printable(item));
  }
  return budgets;
}

// Replays traces as the flags ask for.
class Replayer {
 public:
  explicit Replayer(const ReplayFlags& flags)
      : flags_(flags),
        policies_(chosen_policies(flags.policies)),
        budgets_(chosen_budgets(flags)),
        status_(stderr) {
    std::optional<profiler::Machine> machine;
    if (!flags.machine.empty()) {
      MachineChoice choice = choose_machine(flags.machine);
      if (!choice.note.empty()) fmt::print(stderr, "note      {}\n", choice.note);
      machine = std::move(choice.machine);
    }
    if (!flags.model.empty()) model_.emplace(flags.model, std::move(machine));
    if (!flags.profile.empty()) profile_ = profiler::load_profile(flags.profile);
  }

  ReplayedTrace run(const std::string& path) {
    const profiler::RoutingTrace trace = profiler::read_trace(path).trace;
    if (model_) model_->check(trace.header(), path);
    const Known known = learn(trace, path);
    ReplayedTrace result{.path = path,
                         .header = trace.header(),
                         .tokens = trace.rows(),
                         .learned = rows(trace, 0, known.parts.learned),
                         .judged = rows(trace, known.parts.learned, known.parts.last),
                         .start = known.start,
                         .speed_basis = model_ ? model_->speed_basis() : std::string()};
    for (const Budget& budget : budgets_) {
      guard_.throw_if_interrupted();
      status_.show(fmt::format("replaying {} at {}", path, budget.label));
      result.budgets.push_back(replay_at(trace, budget, known));
    }
    status_.clear();
    return result;
  }

 private:
  // What is known before the part that is judged.
  struct Known {
    profiler::StudyParts parts;
    std::vector<profiler::PolicyCurve> curves;
    std::vector<float> popularity;
    bool warm = true;
    std::string start;
  };

  static std::uint64_t rows(const profiler::RoutingTrace& trace, std::size_t first,
                            std::size_t last) {
    std::uint64_t sum = 0;
    for (std::size_t step = first; step < last; ++step) sum += trace.step(step).rows;
    return sum;
  }

  Known learn(const profiler::RoutingTrace& trace, const std::string& path) {
    const bool nothing_known = (flags_.cold || profile_) && !flags_.learn;
    Known known{
        .parts = parts_of(trace, path, nothing_known ? 0 : flags_.learn.value_or(kLearned).share),
        .warm = !flags_.cold && !profile_};
    if (profile_)
      learn_from_profile(trace, known);
    else if (known.parts.learned > 0)
      learn_from_trace(trace, path, known);
    if (flags_.cold) known.start += "beginning with empty memory";
    return known;
  }

  void learn_from_profile(const profiler::RoutingTrace& trace, Known& known) const {
    profiler::check_profile_of(*profile_, trace.header().model, flags_.profile);
    known.curves = profile_->curves;
    known.popularity = profile_->popularity();
    known.start = "beginning with the experts of a profile";
  }

  void learn_from_trace(const profiler::RoutingTrace& trace, const std::string& path,
                        Known& known) {
    status_.show(fmt::format("choosing policies by the first part of {}", path));
    known.curves = profiler::measure_curves(profiler::part_of(trace, 0, known.parts.learned));
    known.popularity = profiler::popularity_of(trace, 0, known.parts.learned);
    known.start =
        fmt::format("after {} that the policy was chosen from{}",
                    format_grouped(rows(trace, 0, known.parts.learned)), flags_.cold ? ", " : "");
  }

  profiler::StudyParts parts_of(const profiler::RoutingTrace& trace, const std::string& path,
                                double share) const {
    try {
      return profiler::study_parts(trace, share, flags_.tokens);
    } catch (const Error& error) {
      throw_error(error.code(), "{}: {}", printable(path), error.what());
    }
  }

  ReplayedBudget replay_at(const profiler::RoutingTrace& trace, const Budget& budget,
                           const Known& known) const {
    const profiler::ReplayMemory memory =
        model_ ? model_->memory(budget.amount)
               : profiler::uniform_memory(trace, budget.amount.share);
    std::vector<ExpertId> seed;
    if (profile_)
      seed = profiler::choose_seed({.space = trace.header().space(),
                                    .popularity = known.popularity,
                                    .size_class_of = memory.size_class_of,
                                    .slots_of_class = memory.slots_of_class});
    const profiler::BudgetOutcome outcome = profiler::study_budget(trace, memory,
                                                                   {.parts = known.parts,
                                                                    .policies = policies_,
                                                                    .curves = known.curves,
                                                                    .popularity = known.popularity,
                                                                    .seed = seed,
                                                                    .warm = known.warm});
    ReplayedBudget result{.label = budget.label,
                          .memory = model_ ? model_->slot_bytes(memory) : Bytes(0),
                          .slots = outcome.slots,
                          .experts = outcome.experts,
                          .chosen = outcome.choice.policy,
                          .reason = outcome.choice.reason,
                          .below_best = outcome.below_best()};
    const auto add = [&](const profiler::PolicyOutcome& policy) {
      result.rows.push_back(
          {.outcome = policy,
           .below_belady = outcome.below_belady(policy),
           .tokens_per_second = model_ ? model_->tokens_per_second(policy.bytes) : std::nullopt});
    };
    for (const profiler::PolicyOutcome& policy : outcome.policies) add(policy);
    if (outcome.fixed) add(*outcome.fixed);
    add(outcome.belady);
    return result;
  }

  const ReplayFlags& flags_;
  const std::vector<std::string> policies_;
  const std::vector<Budget> budgets_;
  std::optional<ReplayModel> model_;
  std::optional<profiler::ExpertProfile> profile_;
  StatusLine status_;
  InterruptGuard guard_;
};

void print(const ReplayFlags& flags, const std::vector<ReplayedTrace>& traces) {
  if (flags.json) {
    fmt::print("{}\n", replay_json(traces));
  } else if (flags.csv) {
    print_csv(traces);
  } else if (flags.summary) {
    print_summary(traces);
  } else {
    for (const ReplayedTrace& trace : traces) {
      if (&trace != &traces.front()) fmt::print("\n");
      print_tables(trace);
    }
  }
}

}  // namespace

int replay(const Arguments& arguments) {
  ReplayFlags flags;
  CommandLine line("replay",
                   "Run recorded routing through cache policies: what each would have had to read, "
                   "which one would be chosen, and how far that is from the best.");
  add_flags(flags, line);
  if (!line.parse(arguments)) return 0;
  check_flags(flags);
  Replayer replayer(flags);
  std::vector<ReplayedTrace> traces;
  for (const std::string& path : flags.traces) traces.push_back(replayer.run(path));
  print(flags, traces);
  if (!flags.html.empty()) replace_file(flags.html, replay_page(traces));
  return 0;
}

}  // namespace hearth::tools
