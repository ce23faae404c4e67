// hearth doctor: measures what this machine reaches, says what limits it and writes machine.toml.
#include <fmt/chrono.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file_replacement.h"
#include "io/arena.h"
#include "kernels/gpu/backend.h"
#include "profiler/machine_toml.h"
#include "runtime/available_memory.h"
#include "runtime/cores.h"
#include "runtime/machine_file.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/doctor_cpu.h"
#include "tools/hearth/doctor_disk.h"
#include "tools/hearth/doctor_gpu.h"
#include "tools/hearth/doctor_report.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/machine_flag.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/subcommands.h"
#include "tools/hearth/system_facts.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

using std::chrono::milliseconds;

constexpr Bytes kLeastMemory = 64 * kMiB;
constexpr std::uint32_t kMostThreads = 1024;

struct DoctorOptions {
  std::optional<std::string> output, disk;
  std::optional<Bytes> memory;
  std::int32_t threads = -1;
  bool quick = false;
  bool presets = false;
};

// How much is measured, and for how long.
struct Effort {
  Nanoseconds kernel, disk;
  std::vector<Bytes> read_sizes;
  std::vector<std::uint32_t> read_depths;
  Bytes test_file;
  Bytes device_memory, pinned;  // of a GPU and for it
  std::uint32_t graph_layers;
};

Effort effort_of(bool quick) {
  if (quick)
    return {.kernel = milliseconds(30),
            .disk = milliseconds(250),
            .read_sizes = {256 * kKiB, kMiB, 4 * kMiB},
            .read_depths = {1, 8},
            .test_file = 256 * kMiB,
            .device_memory = 512 * kMiB,
            .pinned = 256 * kMiB,
            .graph_layers = 4};
  return {.kernel = milliseconds(80),
          .disk = milliseconds(500),
          .read_sizes = {64 * kKiB, 256 * kKiB, kMiB, 4 * kMiB, 16 * kMiB},
          .read_depths = {1, 2, 4, 8},
          .test_file = kGiB,
          .device_memory = 2 * kGiB,
          .pinned = 8 * kGiB,
          .graph_layers = 16};
}

// What is being measured: redrawn on a terminal, else one line for each subject.
class Stages {
 public:
  void begin(std::string_view text) {
    guard_.throw_if_interrupted();
    if (line_.traits().interactive) return line_.show(fmt::format("measuring {}", text));
    const std::string subject(text.substr(0, text.find(',')));
    if (subject == subject_) return;
    fmt::print(stderr, "measuring {}\n", subject);
    subject_ = subject;
  }

  void say(std::string_view text) {
    line_.clear();
    fmt::print(stderr, "{}\n", text);
  }

  void end() { line_.clear(); }

 private:
  InterruptGuard guard_;
  StatusLine line_{stderr};
  std::string subject_;
};

class Doctor {
 public:
  explicit Doctor(const DoctorOptions& options)
      : options_(options), effort_(effort_of(options.quick)) {}

  DoctorFindings examine() {
    findings_.system = system_facts();
    describe();
    say_if_busy();
    if (const std::string refusal = io_uring_refusal(); !refusal.empty())
      findings_.io_uring_refusal =
          fmt::format("not available ({}): a pool of threads reads instead", refusal);
    attempt([&] { take_memory(); });
    if (!memory_.empty()) attempt([&] { measure_cpu(); });
    if (!memory_.empty()) attempt([&] { measure_the_gpu(); });
    if (!options_.disk)
      stages_.say("disk      not measured; models larger than memory need it: give --disk MODEL");
    else if (!memory_.empty())
      attempt([&] { measure_the_disk(); });
    stages_.end();
    return findings_;
  }

  int failures() const { return failures_; }

 private:
  // One probe: its failure is a line, and the others still run.
  template <typename Probe>
  void attempt(Probe&& probe) {
    try {
      probe();
    } catch (const Error& error) {
      ++failures_;
      stages_.say(fmt::format("failed    {}", error.what()));
    }
  }

  void describe() {
    profiler::Machine& machine = findings_.machine;
    const std::time_t now = std::time(nullptr);
    machine.measured = true;
    machine.cpu.name = findings_.system.cpu;
    machine.cpu.cores = findings_.system.cores;
    machine.cpu.memory = kMiB * (findings_.system.memory / kMiB);
    machine.cpu.instruction_set = kernels_.name;
    machine.name = fmt::format("{}, {}", machine.cpu.name, format_size(machine.cpu.memory));
    machine.source =
        fmt::format("measured by hearth doctor{} {} on {:%Y-%m-%d}",
                    options_.quick ? " --quick" : "", HEARTH_VERSION, fmt::gmtime(now));
  }

  // Figures of a busy machine are true for it, but not what it can do: the file says so, too.
  void say_if_busy() {
    const double load = findings_.system.load;
    if (!is_busy(findings_.system)) return;
    findings_.machine.source += fmt::format(", while others used it (load {:.1f})", load);
    stages_.say(
        fmt::format("note      other processes are using this machine (load {:.1f} on {} "
                    "cores): what is measured is less than it can do",
                    load, findings_.system.cores));
  }

  // Twice the last cache, so that a walk over the memory finds nothing in it.
  void take_memory() {
    const Bytes beyond_caches = 2 * findings_.system.last_level_cache;
    const Bytes available = runtime::available_memory();
    Bytes size = std::min(std::max(beyond_caches, 256 * kMiB), kGiB);
    if (available.count > 0) size = std::min(size, Bytes(available.count / 2));
    if (options_.memory) size = *options_.memory;
    if (size < kLeastMemory)
      throw_error(ErrorCode::kBudget,
                  "memory, kernels, disk: {} are too little to measure with, {} are needed; free "
                  "some memory",
                  format_size(size), format_size(kLeastMemory));
    if (size < beyond_caches)
      stages_.say(fmt::format(
          "note      {} are less than twice the caches of this CPU ({}): what is measured may be "
          "them; allow more with --memory",
          format_size(size), format_size(findings_.system.last_level_cache)));
    memory_ = io::Arena(size);
  }

  std::uint32_t threads() const {
    return options_.threads > 0 ? static_cast<std::uint32_t>(options_.threads)
                                : runtime::available_cores();
  }

  void measure_cpu() {
    const CpuProbe probe{.kernels = kernels_,
                         .memory = memory_.bytes(),
                         .threads = thread_counts(threads(), options_.quick),
                         .time = effort_.kernel,
                         .progress = [&](std::string_view what) { stages_.begin(what); }};
    profiler::CpuMachine& cpu = findings_.machine.cpu;
    cpu.memory_read = measure_memory(probe);
    cpu.kernels = measure_kernels(probe);
    cpu.kernel_efficiency = median_efficiency(cpu);
    const FixedCosts costs = measure_fixed_costs(probe);
    cpu.layer_overhead = costs.layer;
    cpu.token_overhead = costs.token;
    round_rates(cpu.memory_read);
    for (profiler::KernelRate& kernel : cpu.kernels) round_rates(kernel.rates);
  }

  // The first device of the first back end that has one.
  void measure_the_gpu() {
    std::vector<std::string> missing;
    for (const kernels::GpuBackend& backend : kernels::gpu_backends()) {
      const kernels::GpuDevices found = backend.find();
      if (!found.devices.empty()) return measure_device(backend, found.devices);
      missing.push_back(fmt::format("{}: {}", backend.name, found.why_none));
    }
    findings_.gpu.missing = fmt::format("{}", fmt::join(missing, "; "));
  }

  void measure_device(const kernels::GpuBackend& backend,
                      const std::vector<kernels::DeviceProperties>& found) {
    const kernels::DeviceProperties& first = found.front();
    if (found.size() > 1)
      stages_.say(fmt::format("note      {} GPUs found; the first is measured: {}", found.size(),
                              printable(first.name)));
    findings_.gpu = {.about = fmt::format("{}, {}", first.architecture, first.driver),
                     .missing = {},
                     .pinned = pinned_memory()};
    const auto device = backend.open(first.ordinal);
    findings_.gpu.stream_memory_operations = device->properties().stream_memory_operations;
    findings_.gpu.launches_overlap = device->properties().begins_early;
    findings_.machine.gpu =
        measure_gpu({.device = *device,
                     .kernels = backend.kernels(),
                     .cpu = kernels_,
                     .memory = memory_.bytes(),
                     .threads = threads(),
                     .device_memory = effort_.device_memory,
                     .pinned = findings_.gpu.pinned,
                     .time = effort_.kernel,
                     .layers = effort_.graph_layers,
                     .progress = [&](std::string_view what) { stages_.begin(what); }});
  }

  // At most a quarter of what is available, in whole MiB.
  Bytes pinned_memory() const {
    const Bytes available = runtime::available_memory();
    if (available.count == 0) return effort_.pinned;
    return std::min(effort_.pinned, kMiB * std::max<std::uint64_t>(1, available / (4 * kMiB)));
  }

  void measure_the_disk() {
    DiskMeasurement measured = measure_disk(
        {.path = *options_.disk,
         .memory = memory_.bytes(),
         .sizes = effort_.read_sizes,
         .depths = effort_.read_depths,
         .time = effort_.disk,
         .test_file = effort_.test_file,
         .progress = [&](std::string_view what) { stages_.begin(what); },
         .note = [&](std::string_view what) { stages_.say(fmt::format("note      {}", what)); }});
    for (profiler::DiskRate& row : measured.disk.random_reads) row.rate = whole_mb(row.rate);
    findings_.machine.disk = std::move(measured.disk);
    findings_.reader = std::move(measured.reader);
  }

  // What formats get that have no rate of their own.
  static double median_efficiency(const profiler::CpuMachine& cpu) {
    std::vector<double> shares;
    for (const profiler::KernelRate& kernel : cpu.kernels)
      shares.push_back(kernel.rates.back().rate / cpu.memory_read.back().rate);
    std::ranges::nth_element(shares, shares.begin() + static_cast<long>(shares.size() / 2));
    const double share = std::round(100 * shares[shares.size() / 2]) / 100;
    return std::clamp(share, 0.01, 1.0);
  }

  static double whole_mb(double rate) { return std::max(1.0, std::round(rate / 1e6)) * 1e6; }
  static void round_rates(std::vector<profiler::ThreadRate>& rates) {
    for (profiler::ThreadRate& row : rates) row.rate = whole_mb(row.rate);
  }

  const DoctorOptions& options_;
  const Effort effort_;
  const kernels::CpuKernels& kernels_ = kernels::cpu_kernels(kernels::best_instruction_set());
  Stages stages_;
  io::Arena memory_;
  DoctorFindings findings_;
  int failures_ = 0;
};

bool parse(const Arguments& arguments, DoctorOptions& o) {
  CommandLine line(
      "doctor",
      "Measure this machine: memory, kernels, disk, GPU. Say what limits it, and write what "
      "plans and predictions are made with.");
  line.group("Measurement");
  line.add({.names = "--quick", .help = "a few seconds instead of half a minute, less exact"},
           o.quick);
  line.add({.names = "--disk",
            .value = "PATH",
            .help = "a model file to read, or a folder where a test file may be made"},
           o.disk);
  line.add({.names = "-t,--threads",
            .value = "N",
            .help = "most threads; -1: one per core that may be used"},
           o.threads);
  line.add({.names = "--memory", .value = "SIZE", .help = "memory to measure with"}, o.memory);
  line.group("Output");
  line.add({.names = "-o,--output",
            .value = "FILE|-",
            .help = "machine file to write; - for standard output (default: the one that --machine "
                    "auto reads)"},
           o.output);
  line.add({.names = "--presets", .help = "list the machines that come with the program"},
           o.presets);
  if (!line.parse(arguments)) return false;
  if (o.presets && arguments.size() > 1)
    throw_error(ErrorCode::kUsage, "--presets measures nothing; give it alone");
  if (o.threads == 0 || o.threads < -1 || o.threads > static_cast<std::int32_t>(kMostThreads))
    throw_error(ErrorCode::kUsage,
                "--threads is {}; give 1 to {}, or -1 for one per core that may be used", o.threads,
                kMostThreads);
  if (o.memory && *o.memory < kLeastMemory)
    throw_error(ErrorCode::kUsage, "--memory is {}; give at least {}", format_size(*o.memory),
                format_size(kLeastMemory));
  return true;
}

void list_presets() {
  for (const std::string& name : machine_presets())
    fmt::print("{:<26}{}\n", name, machine_preset(name).name);
}

// Before anything is measured: a path that cannot be written is found early.
std::string output_path(const DoctorOptions& o) {
  namespace fs = std::filesystem;
  if (o.output == "-") return *o.output;
  const fs::path path = o.output ? fs::path(*o.output) : fs::path(runtime::saved_machine_path());
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  if (!o.output) fs::create_directories(folder, error);
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    throw_error(ErrorCode::kIo,
                "{}: nothing can be written there: {}; name another file with "
                "--output",
                printable(folder.string()), std::strerror(errno));
  const FileReplacement possible(path.string());  // no folder, no device, no model
  return path.string();
}

// A file that is named is for what is measured now. The one that --machine auto reads is not
// replaced by one with less in it, because a disk could not be read today.
bool keeps_what_is_there(const DoctorOptions& o, const std::string& path, int failures) {
  std::error_code error;
  return !o.output && failures > 0 && std::filesystem::exists(path, error);
}

// What the file says of a disk that is not measured now: plans go on with it.
std::optional<profiler::DiskMachine> disk_of_before(const DoctorOptions& o,
                                                    const std::string& path) {
  std::error_code error;
  if (o.output || o.disk || !std::filesystem::exists(path, error)) return std::nullopt;
  try {
    return profiler::load_machine(path).disk;
  } catch (const Error&) {  // it is replaced, whatever it is
    return std::nullopt;
  }
}

}  // namespace

int doctor(const Arguments& arguments) {
  DoctorOptions o;
  if (!parse(arguments, o)) return 0;
  if (o.presets) return list_presets(), 0;

  if (o.disk) check_disk(*o.disk, effort_of(o.quick).test_file);
  const std::string path = output_path(o);
  Doctor doctor(o);
  DoctorFindings findings = doctor.examine();
  std::FILE* const out = path == "-" ? stderr : stdout;
  for (const std::string& line : report_lines(findings)) fmt::print(out, "{}\n", line);
  if (findings.machine.cpu.memory_read.empty())
    throw_error(ErrorCode::kBudget,
                "nothing was measured, and no machine file is written; see above");
  for (const std::string& line : verdict_lines(findings)) fmt::print(out, "{}\n", line);
  if (path == "-") {
    fmt::print("{}", profiler::to_toml(findings.machine));
  } else if (keeps_what_is_there(o, path, doctor.failures())) {
    fmt::print(out,
               "kept      {}, which may hold what could not be measured now; --output FILE writes "
               "the rest\n",
               printable(path, 400));
  } else {
    const auto before = disk_of_before(o, path);
    if (before) findings.machine.disk = before;
    profiler::save_machine(path, findings.machine);
    fmt::print(out, "written   {}{}\n", printable(path, 400),
               before ? ", with the disk as it was measured before" : "");
  }
  return doctor.failures() == 0 ? 0 : 1;
}

}  // namespace hearth::tools
