// hearth plan: what a model would take and how fast it would run, before anything is allocated.
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/small_file.h"
#include "io/async_reader.h"
#include "profiler/plan_toml.h"
#include "runtime/available_memory.h"
#include "runtime/model_identity.h"
#include "runtime/plan_input.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/machine_flag.h"
#include "tools/hearth/plan_report.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

struct PlanFlags {
  EngineFlags engine;
  std::optional<std::string> machine;
  std::optional<Bytes> vram;
  std::uint32_t depth = 0;
  bool json = false;
  bool toml = false;
  std::optional<std::string> output;

  void add_to(CommandLine& line);
  void check() const;
};

void PlanFlags::add_to(CommandLine& line) {
  engine.takes_plan = engine.takes_device = false;
  engine.add_to(line);
  line.group("Plan");
  line.add({.names = "--machine",
            .value = "NAME|FILE|auto",
            .help = "whose figures: one of 'hearth doctor --presets', a machine.toml, or what "
                    "hearth doctor measured here (the default, where it did)"},
           machine);
  line.add(
      {.names = "--vram",
       .value = "SIZE",
       .help = "budget for everything on the GPU of the machine (all of it if not given; 0: plan "
               "without it)"},
      vram);
  line.add({.names = "--depth", .value = "N", .help = "tokens in the context when predicting"},
           depth);
  line.group("Output");
  line.add({.names = "--json", .help = "print JSON, sizes in bytes"}, json);
  line.add({.names = "--toml", .help = "print the plan file"}, toml);
  line.add({.names = "-o,--output",
            .value = "FILE",
            .help = "write the plan file, which run, bench and others take with --plan",
            .writes = true},
           output);
}

void PlanFlags::check() const {
  if (json && toml) throw_error(ErrorCode::kUsage, "--json and --toml: give one of them");
  if (output && (json || toml))
    throw_error(ErrorCode::kUsage, "--output writes the plan file, {} prints; give one of them",
                json ? "--json" : "--toml");
}

// The machine to plan for, where one is known; `here` if it is the one that runs this.
struct PlanMachine {
  std::optional<MachineChoice> choice;
  bool here = true;
};

PlanMachine find_machine(const std::optional<std::string>& flag) {
  if (!flag) return {.choice = saved_machine()};
  PlanMachine found{.choice = choose_machine(*flag)};
  const bool measured_here = found.choice->machine.measured && found.choice->note.empty();
  found.here = *flag == "auto" || measured_here;
  return found;
}

// Slots depend on how reads are aligned, which the file system says.
std::uint64_t read_alignment(const io::GgufFile& file, const io::ReaderOptions& options) {
  return io::AsyncReader::open(file.paths(), options)->alignment();
}

std::string budget_text(const PlanFlags& flags, const PlanMachine& machine) {
  std::string text;
  if (flags.engine.ram) text = fmt::format("--ram {}", format_size(*flags.engine.ram));
  if (flags.engine.expert_ram)
    text = flags.engine.expert_ram->size
               ? fmt::format("--expert-ram {}", format_size(*flags.engine.expert_ram->size))
               : fmt::format("--expert-ram {:g}%", 100 * flags.engine.expert_ram->share);
  if (text.empty())
    text = machine.here ? "nine tenths of the memory that is free now"
                        : "nine tenths of the machine's memory";
  if (flags.vram) text += fmt::format(", --vram {}", format_size(*flags.vram));
  return text;
}

std::vector<std::string> notes_of(const PlanFlags& flags, const PlanMachine& machine,
                                  const io::GgufFile& file, const runtime::Model& model,
                                  const profiler::PlacementPlan& plan) {
  std::vector<std::string> notes = model.notes;
  if (!machine.choice)
    notes.push_back("no prediction: hearth doctor measures this machine, --machine names another");
  else if (!machine.choice->note.empty())
    notes.push_back(machine.choice->note);
  const auto gpu = machine.choice ? machine.choice->machine.gpu : std::nullopt;
  if (flags.vram && gpu && *flags.vram > gpu->memory)
    notes.push_back(fmt::format("--vram is more than the GPU has: this is a plan for its {}",
                                format_size(gpu->memory)));
  if (plan.vram)
    notes.push_back(
        "the plan for a GPU is an outlook: a run plans anew from what it finds there; --vram 0 "
        "plans what runs without one");
  if (!file.has_data())
    notes.push_back("the file ends before its weights do; planned all the same");
  return notes;
}

}  // namespace

int plan(const Arguments& arguments) {
  CommandLine line("plan", "Say what a model would take, to the byte, and how fast it would run.");
  PlanFlags flags;
  flags.add_to(line);
  if (!line.parse(arguments)) return 0;
  flags.check();

  runtime::EngineOptions options = flags.engine.options();
  const PlanMachine machine = find_machine(flags.machine);
  const io::GgufFile file = io::GgufFile::open(options.model_path, runtime::block_shape_of,
                                               io::GgufFile::Data::kMayBeMissing);
  const auto model = runtime::build_model(file);
  if (!machine.here && options.threads == 0) options.threads = machine.choice->machine.cpu.cores;
  const auto profile = options.find_profile(file, *model);
  auto [needs, request] = runtime::plan_input(file, *model, options,
                                              read_alignment(file, options.io), profile != nullptr);
  needs.model = runtime::identity_of(file);
  request.budget.vram = flags.vram;
  if (flags.depth > request.context)
    throw_error(ErrorCode::kUsage, "--depth {}: the context has {} tokens; raise --ctx-size",
                flags.depth, request.context);
  request.depth = flags.depth;
  request.available = machine.here ? runtime::available_memory(runtime::resident_memory())
                                   : machine.choice->machine.cpu.memory;

  const profiler::Machine* figures = machine.choice ? &machine.choice->machine : nullptr;
  const profiler::PlacementPlan placement =
      profiler::plan_placement(needs, request, figures, profile.get());
  PlanReport report{.needs = needs,
                    .plan = placement,
                    .model_path = options.model_path,
                    .file_bytes = file.file_bytes(),
                    .machine = {},
                    .memory_from = budget_text(flags, machine),
                    .notes = notes_of(flags, machine, file, *model, placement),
                    .advice = {}};
  if (figures != nullptr) {
    report.machine = fmt::format("{} ({})", figures->name, machine.choice->origin);
    report.advice = profiler::advise(needs, request, *figures, profile.get());
  }
  if (flags.output) profiler::save_plan(*flags.output, placement);
  if (flags.json)
    fmt::print("{}", plan_json(report));
  else if (flags.toml)
    fmt::print("{}", profiler::to_toml(placement));
  else
    print_plan(report);
  return 0;
}

}  // namespace hearth::tools
