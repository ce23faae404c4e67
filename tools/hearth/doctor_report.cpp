#include "tools/hearth/doctor_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "tools/hearth/doctor_cpu.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

using profiler::KernelRate;
using profiler::Machine;
using profiler::ThreadRate;

std::string rate_text(double bytes_per_second) {
  return fmt::format("{:.1f} GB/s", bytes_per_second / 1e9);
}

std::string threads_text(std::uint32_t threads) {
  return threads == 1 ? "1 thread" : fmt::format("{} threads", threads);
}

std::string line(std::string_view title, std::string_view text) {
  return fmt::format("{:<10}{}", title, text);
}

std::string thread_rates_text(const std::vector<ThreadRate>& rates) {
  std::string text;
  for (const ThreadRate& row : rates)
    text += fmt::format("{}{} with {}", text.empty() ? "" : ", ", rate_text(row.rate),
                        threads_text(row.threads));
  return text;
}

// "Q4_K 30.1, Q6_K 28.9, ... GB/s with 8 threads", the fastest first.
std::string kernels_text(const profiler::CpuMachine& cpu) {
  std::vector<std::pair<double, std::string>> rates;
  for (const KernelRate& kernel : cpu.kernels)
    rates.emplace_back(kernel.rates.back().rate, kernel.format);
  std::ranges::sort(rates, std::greater());
  std::string text;
  for (const auto& [rate, format] : rates)
    text += fmt::format("{}{} {:.1f}", text.empty() ? "" : ", ", format, rate / 1e9);
  return fmt::format("{} GB/s with {}", text,
                     threads_text(cpu.kernels.front().rates.back().threads));
}

// The best rate of every size, and how long a single read takes.
std::string reads_text(const profiler::DiskMachine& disk) {
  std::string text;
  for (auto row = disk.random_reads.begin(); row != disk.random_reads.end();) {
    const auto end = std::find_if(row, disk.random_reads.end(),
                                  [&](const auto& other) { return other.read != row->read; });
    const auto best =
        std::max_element(row, end, [](const auto& a, const auto& b) { return a.rate < b.rate; });
    text += fmt::format("{}{}: {:.2f} GB/s, {} at once (one alone {})", text.empty() ? "" : "; ",
                        format_size(row->read), best->rate / 1e9, best->depth,
                        format_duration(row->latency));
    row = end;
  }
  return text;
}

std::string huge_pages_text(const SystemFacts& system) {
  if (system.huge_pages == "always" || system.huge_pages == "madvise")
    return fmt::format("transparent huge pages on {}: in use for weights and experts",
                       system.huge_pages);
  if (system.huge_pages == "never")
    return "transparent huge pages are off: reading memory is slower; as root: echo madvise > "
           "/sys/kernel/mm/transparent_hugepage/enabled";
  return "this kernel has no transparent huge pages";
}

std::string limits_text(const SystemFacts& system) {
  if (!system.locked_memory) return "no limit on locked memory (RLIMIT_MEMLOCK)";
  return fmt::format(
      "{} of locked memory (RLIMIT_MEMLOCK): buffers beyond it are not registered with io_uring, "
      "which costs a little CPU time per read; raise it with ulimit -l or in "
      "/etc/security/limits.conf",
      format_size(*system.locked_memory));
}

std::string gpu_absence_text(const DoctorFindings& findings) {
  const std::vector<std::string>& gpus = findings.system.gpus;
  if (!findings.gpu.missing.empty())
    return fmt::format("{}; everything is computed by the CPU", findings.gpu.missing);
  if (!findings.gpu.about.empty())
    return fmt::format("one was found ({}), but measuring it failed, as said above",
                       findings.gpu.about);
  if (gpus.empty()) return "no driver of a GPU found; everything is computed by the CPU";
  return fmt::format(
      "{} found, but this build has no GPU back end: nothing was measured on it and nothing will "
      "be "
      "computed on it",
      fmt::join(gpus, ", "));
}

std::string pinned_text(const DoctorFindings& findings) {
  const std::optional<Bytes> pinnable = findings.machine.gpu->pinnable;
  if (!pinnable)
    return fmt::format("{} of memory were pinned for it without a refusal",
                       format_size(findings.gpu.pinned));
  return fmt::format(
      "the system lets {} of memory be pinned for it and no more: experts beyond them reach it "
      "more "
      "slowly; raise the limit on locked memory (ulimit -l)",
      format_size(*pinnable));
}

// What was measured, from the card outwards.
std::vector<std::string> gpu_lines(const DoctorFindings& findings) {
  if (!findings.machine.gpu) return {line("gpu", gpu_absence_text(findings))};
  const profiler::GpuMachine& gpu = *findings.machine.gpu;
  return {
      line("gpu", fmt::format("{} ({}), {} of memory, {} of it taken", gpu.name, findings.gpu.about,
                              format_size(gpu.memory), format_size(gpu.reserved))),
      line("", fmt::format("reads its memory at {}", rate_text(gpu.memory_read))),
      line("link", fmt::format("copies at {} to the card and {} back, its kernels gather at {}",
                               rate_text(gpu.host_to_device), rate_text(gpu.device_to_host),
                               rate_text(gpu.gather))),
      line("", fmt::format("while the CPU computes: copies at {}, gathers at {}, and its products "
                           "at {}",
                           rate_text(gpu.host_to_device_shared), rate_text(gpu.gather_shared),
                           rate_text(gpu.cpu_shared))),
      line("launches",
           fmt::format("{} each, {} in a graph{}; a layer {}, with a fetch {} more",
                       format_duration(gpu.launch), format_duration(gpu.graph_node),
                       findings.gpu.launches_overlap ? ", one begun while another ends" : "",
                       format_duration(gpu.layer_overhead), format_duration(gpu.fetch_overhead))),
      line("hand-over",
           fmt::format("{} to the CPU and back{}, {} where the host must be called",
                       format_duration(gpu.join_overhead),
                       findings.gpu.stream_memory_operations
                           ? ""
                           : " without stream memory operations, which the driver lacks",
                       format_duration(gpu.host_call))),
      line("pinned", pinned_text(findings)),
  };
}

// More threads than half of them give less than this more: memory, not threads, is the limit.
constexpr double kSaturated = 1.3;
// Below this share of what memory gives, computing is what takes the time.
constexpr double kComputeBound = 0.7;

std::string memory_verdict(const profiler::CpuMachine& cpu) {
  const std::uint32_t most = cpu.memory_read.back().threads;
  const double all = memory_rate(cpu, most);
  const double kernel = kernel_rate(cpu, std::string(kCommonFormat), most);
  if (kernel < kComputeBound * all)
    return fmt::format(
        "limit     the CPU's arithmetic: {} products reach {:.0f} % of what memory gives, so more "
        "or "
        "faster cores would help more than faster memory",
        kCommonFormat, 100 * kernel / all);
  if (most > 1 && memory_rate(cpu, most) < kSaturated * memory_rate(cpu, most / 2))
    return fmt::format(
        "limit     memory: {} read it hardly faster than {}, so faster memory would help and more "
        "threads would not",
        threads_text(most), threads_text(most / 2));
  return fmt::format(
      "limit     the number of cores: {} do not exhaust the memory yet, so more cores would help",
      threads_text(most));
}

// Of experts that are in RAM and not on the card: who is to compute them, and what that costs.
std::string gpu_verdict(const Machine& machine) {
  const profiler::GpuMachine& gpu = *machine.gpu;
  const double cpu =
      kernel_rate(machine.cpu, std::string(kCommonFormat), machine.cpu.memory_read.back().threads);
  const double both = gpu.gather_shared + gpu.cpu_shared;
  const bool together = both > std::max(gpu.gather, cpu);
  return fmt::format(
      "experts   100 MB of experts take {:.2f} ms on the card, and where they are not there {:.1f} "
      "ms over the link, {:.1f} ms on the CPU {}",
      1e11 / gpu.memory_read, 1e11 / gpu.gather, 1e11 / cpu,
      together ? fmt::format("and {:.1f} ms by both together", 1e11 / both)
               : "and no less by both together: the host's memory is the limit");
}

}  // namespace

std::vector<std::string> report_lines(const DoctorFindings& findings) {
  const Machine& machine = findings.machine;
  const SystemFacts& system = findings.system;
  std::vector<std::string> lines = {line(
      "machine", fmt::format("{}, {} cores, {}, {} of memory", machine.cpu.name, machine.cpu.cores,
                             machine.cpu.instruction_set, format_size(machine.cpu.memory)))};
  if (!machine.cpu.memory_read.empty())
    lines.push_back(line("memory", "read at " + thread_rates_text(machine.cpu.memory_read)));
  if (!machine.cpu.kernels.empty()) lines.push_back(line("kernels", kernels_text(machine.cpu)));
  if (machine.cpu.layer_overhead.count() > 0)
    lines.push_back(
        line("overhead", fmt::format("{} a layer and {} a token, beside reading weights",
                                     format_duration(machine.cpu.layer_overhead),
                                     format_duration(machine.cpu.token_overhead))));
  if (machine.disk) {
    lines.push_back(line("disk", fmt::format("{}; {}", machine.disk->name, findings.reader)));
    lines.push_back(line("", reads_text(*machine.disk)));
    if (!machine.disk->direct)
      lines.push_back(line("",
                           "these reads go through the page cache, which the file was asked out "
                           "of; O_DIRECT would spare the copy"));
  }
  lines.push_back(line(
      "io_uring", findings.io_uring_refusal.empty() ? "available" : findings.io_uring_refusal));
  lines.push_back(line("pages", huge_pages_text(system)));
  if (system.reserved_huge_pages > 0)
    lines.push_back(line("", fmt::format("{} reserved huge pages are memory that Hearth does not "
                                         "use; vm.nr_hugepages=0 gives it back",
                                         system.reserved_huge_pages)));
  lines.push_back(line("limits", limits_text(system)));
  for (std::string& text : gpu_lines(findings)) lines.push_back(std::move(text));
  return lines;
}

std::vector<std::string> verdict_lines(const DoctorFindings& findings) {
  const Machine& machine = findings.machine;
  const profiler::CpuMachine& cpu = machine.cpu;
  const std::uint32_t threads = cpu.memory_read.back().threads;
  const double kernel = kernel_rate(cpu, std::string(kCommonFormat), threads);
  std::vector<std::string> lines = {
      is_busy(findings.system)
          ? "limit     not judged: while others use this machine, what threads add cannot be seen"
          : memory_verdict(cpu)};
  lines.push_back(
      fmt::format("decode    a token reads all weights it uses once: 1 GB of {} takes {:.0f} ms, "
                  "so a model that "
                  "uses 2 GB a token cannot exceed {:.1f} tokens/s here",
                  kCommonFormat, 1e12 / kernel, kernel / 2e9));
  if (machine.disk) {
    const double disk = disk_rate(*machine.disk, kMiB);
    lines.push_back(fmt::format(
        "offload   the disk is {:.0f} times slower than the kernels: experts that are not in "
        "memory "
        "cost {:.0f} ms for every 100 MB, and once {:.1f} % of what a token reads comes from the "
        "disk, the disk takes as long as all the rest",
        kernel / disk, 1e11 / disk, 100 * disk / kernel));
  }
  if (machine.gpu) lines.push_back(gpu_verdict(machine));
  return lines;
}

}  // namespace hearth::tools
