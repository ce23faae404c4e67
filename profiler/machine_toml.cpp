#include "profiler/machine_toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/table_toml.h"

namespace hearth::profiler {
namespace {

constexpr Bytes kMostText(256 << 10);
constexpr std::size_t kMostRows = 256;  // of a list, or formats
constexpr std::size_t kLongestName = 1000;

// What no machine is outside of: these find slips of units, not of taste.
constexpr TableReader::RealRange kRateGbs{1e-4, 1e6};
constexpr TableReader::RealRange kShare{0.01, 1};
constexpr TableReader::RealRange kMicroseconds{0, 1e7};
constexpr TableReader::Range kThreads{1, 4096};
constexpr TableReader::Range kDepth{1, 65536};
constexpr TableReader::Range kReadKib{1, 1 << 20};
constexpr TableReader::Range kMemoryMib{64, 1 << 26};
constexpr TableReader::Range kReservedMib{0, 1 << 26};

// ---- Reading -----------------------------------------------------------------------------------

std::string text(TableReader& reader, std::string_view key) {
  std::string text = reader.string(key);
  if (text.size() > kLongestName) reader.fail(key, "is longer than 1000 bytes");
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    reader.fail(key, "holds a control character");
  return text;
}

std::uint32_t small_count(TableReader& reader, std::string_view key, TableReader::Range range) {
  return static_cast<std::uint32_t>(reader.count(key, range));
}

BytesPerSecond rate(TableReader& reader, std::string_view key) {
  return std::round(reader.real(key, kRateGbs) * 1e9);
}

Nanoseconds microseconds(TableReader& reader, std::string_view key) {
  return Nanoseconds(std::llround(reader.real(key, kMicroseconds) * 1e3));
}

Nanoseconds known_microseconds(TableReader& reader, std::string_view key) {
  return reader.has(key) ? microseconds(reader, key) : Nanoseconds(0);
}

std::vector<TableReader> rows(TableReader& reader, std::string_view key) {
  std::vector<TableReader> rows = reader.tables(key);
  if (rows.empty() || rows.size() > kMostRows)
    reader.fail(key, fmt::format("has {} rows, outside 1 to {}", rows.size(), kMostRows));
  return rows;
}

std::vector<ThreadRate> read_thread_rates(TableReader& reader, std::string_view key) {
  std::vector<ThreadRate> rates;
  for (TableReader& row : rows(reader, key)) {
    rates.push_back({.threads = small_count(row, "threads", kThreads), .rate = rate(row, "gb_s")});
    if (rates.size() > 1 && rates.back().threads <= rates[rates.size() - 2].threads)
      row.fail("threads", "is not above that of the row before");
    row.finish();
  }
  return rates;
}

// A bare key of TOML, as all names of weight formats are.
bool is_format_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && std::ranges::all_of(name, [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

std::vector<KernelRate> read_kernels(TableReader& cpu) {
  std::vector<KernelRate> kernels;
  if (!cpu.has("kernels")) return kernels;
  TableReader formats = cpu.table("kernels");
  for (const std::string& format : formats.keys()) {
    if (kernels.size() == kMostRows) formats.fail(format, "is one format too many");
    if (!is_format_name(format)) formats.fail(format, "is no name of a weight format");
    kernels.push_back({.format = format, .rates = read_thread_rates(formats, format)});
  }
  return kernels;
}

CpuMachine read_cpu(TableReader cpu) {
  CpuMachine machine{.name = text(cpu, "name"),
                     .instruction_set = text(cpu, "instruction_set"),
                     .cores = small_count(cpu, "cores", kThreads),
                     .memory = kMiB * cpu.count("memory_mib", kMemoryMib),
                     .memory_read = read_thread_rates(cpu, "memory_read"),
                     .kernels = read_kernels(cpu),
                     .kernel_efficiency = cpu.real("kernel_efficiency", kShare),
                     .layer_overhead = microseconds(cpu, "layer_overhead_us"),
                     .token_overhead = microseconds(cpu, "token_overhead_us")};
  cpu.finish();
  return machine;
}

DiskMachine read_disk(TableReader disk) {
  DiskMachine machine{.name = text(disk, "name"),
                      .io_uring = disk.boolean("io_uring"),
                      .direct = disk.boolean("direct"),
                      .random_reads = {}};
  const auto place = [](const DiskRate& rate) { return std::pair(rate.read, rate.depth); };
  std::vector<DiskRate>& rates = machine.random_reads;
  for (TableReader& row : rows(disk, "random_reads")) {
    rates.push_back({.read = kKiB * row.count("read_kib", kReadKib),
                     .depth = small_count(row, "depth", kDepth),
                     .rate = rate(row, "gb_s"),
                     .latency = microseconds(row, "latency_us")});
    if (rates.size() > 1 && place(rates.back()) <= place(rates[rates.size() - 2]))
      row.fail("read_kib", "and depth do not come after those of the row before");
    row.finish();
  }
  disk.finish();
  return machine;
}

GpuMachine read_gpu(TableReader gpu) {
  GpuMachine machine{.name = text(gpu, "name"),
                     .memory = kMiB * gpu.count("memory_mib", kMemoryMib),
                     .reserved = kMiB * gpu.count("reserved_mib", kReservedMib),
                     .memory_read = rate(gpu, "memory_read_gb_s"),
                     .host_to_device = rate(gpu, "host_to_device_gb_s"),
                     .device_to_host = rate(gpu, "device_to_host_gb_s"),
                     .gather = rate(gpu, "gather_gb_s"),
                     .host_to_device_shared = rate(gpu, "host_to_device_shared_gb_s"),
                     .gather_shared = rate(gpu, "gather_shared_gb_s"),
                     .cpu_shared = rate(gpu, "cpu_shared_gb_s"),
                     .layer_overhead = microseconds(gpu, "layer_overhead_us"),
                     .fetch_overhead = microseconds(gpu, "fetch_overhead_us"),
                     .join_overhead = microseconds(gpu, "join_overhead_us"),
                     .launch = known_microseconds(gpu, "launch_us"),
                     .graph_node = known_microseconds(gpu, "graph_node_us"),
                     .host_call = known_microseconds(gpu, "host_call_us"),
                     .pinnable = {}};
  if (gpu.has("pinnable_mib")) machine.pinnable = kMiB * gpu.count("pinnable_mib", kReservedMib);
  if (machine.reserved >= machine.memory)
    gpu.fail("reserved_mib", "leaves nothing of gpu.memory_mib");
  gpu.finish();
  return machine;
}

Machine read_machine(TableReader root, const std::string& file) {
  const std::uint64_t version = root.count("version", {1, 1'000'000});
  if (version > kMachineVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: a machine file of version {}, this program reads {}; use a newer program or "
                "measure again with hearth doctor",
                printable(file, 400), version, kMachineVersion);
  Machine machine{.name = text(root, "name"),
                  .source = text(root, "source"),
                  .measured = root.boolean("measured"),
                  .cpu = read_cpu(root.table("cpu")),
                  .disk = {},
                  .gpu = {}};
  if (root.has("disk")) machine.disk = read_disk(root.table("disk"));
  if (root.has("gpu")) machine.gpu = read_gpu(root.table("gpu"));
  root.finish();
  return machine;
}

// ---- Writing -----------------------------------------------------------------------------------

double gb_s(BytesPerSecond rate) { return std::round(rate) / 1e9; }
double microseconds(Nanoseconds time) { return static_cast<double>(time.count()) / 1e3; }
std::uint64_t mib(Bytes bytes) { return bytes / kMiB; }

std::string thread_rates(const std::vector<ThreadRate>& rates) {
  std::vector<std::string> rows;
  for (const ThreadRate& row : rates)
    rows.push_back(fmt::format("{{ threads = {}, gb_s = {} }}", row.threads, gb_s(row.rate)));
  return fmt::format("[\n  {},\n]\n", fmt::join(rows, ",\n  "));
}

void write_cpu(std::string& out, const CpuMachine& cpu) {
  out += fmt::format(
      "\n[cpu]\nname = {}\ninstruction_set = {}\ncores = {}\nmemory_mib = {}\n"
      "kernel_efficiency = {}\nlayer_overhead_us = {}\ntoken_overhead_us = {}\nmemory_read = {}",
      quoted(cpu.name), quoted(cpu.instruction_set), cpu.cores, mib(cpu.memory),
      cpu.kernel_efficiency, microseconds(cpu.layer_overhead), microseconds(cpu.token_overhead),
      thread_rates(cpu.memory_read));
  if (cpu.kernels.empty()) return;
  out += "\n[cpu.kernels]\n";
  for (const KernelRate& kernel : cpu.kernels)
    out += fmt::format("{} = {}", kernel.format, thread_rates(kernel.rates));
}

void write_disk(std::string& out, const DiskMachine& disk) {
  out += fmt::format("\n[disk]\nname = {}\nio_uring = {}\ndirect = {}\nrandom_reads = [\n",
                     quoted(disk.name), disk.io_uring, disk.direct);
  for (const DiskRate& row : disk.random_reads)
    out += fmt::format("  {{ read_kib = {}, depth = {}, gb_s = {}, latency_us = {} }},\n",
                       row.read / kKiB, row.depth, gb_s(row.rate), microseconds(row.latency));
  out += "]\n";
}

void write_gpu(std::string& out, const GpuMachine& gpu) {
  out += fmt::format("\n[gpu]\nname = {}\nmemory_mib = {}\nreserved_mib = {}\n", quoted(gpu.name),
                     mib(gpu.memory), mib(gpu.reserved));
  const auto write = [&](std::string_view key, double x) {
    out += fmt::format("{} = {}\n", key, x);
  };
  write("memory_read_gb_s", gb_s(gpu.memory_read));
  write("host_to_device_gb_s", gb_s(gpu.host_to_device));
  write("device_to_host_gb_s", gb_s(gpu.device_to_host));
  write("gather_gb_s", gb_s(gpu.gather));
  write("host_to_device_shared_gb_s", gb_s(gpu.host_to_device_shared));
  write("gather_shared_gb_s", gb_s(gpu.gather_shared));
  write("cpu_shared_gb_s", gb_s(gpu.cpu_shared));
  write("layer_overhead_us", microseconds(gpu.layer_overhead));
  write("fetch_overhead_us", microseconds(gpu.fetch_overhead));
  write("join_overhead_us", microseconds(gpu.join_overhead));
  if (gpu.launch.count() > 0) write("launch_us", microseconds(gpu.launch));
  if (gpu.graph_node.count() > 0) write("graph_node_us", microseconds(gpu.graph_node));
  if (gpu.host_call.count() > 0) write("host_call_us", microseconds(gpu.host_call));
  if (gpu.pinnable) out += fmt::format("pinnable_mib = {}\n", mib(*gpu.pinnable));
}

}  // namespace

std::string to_toml(const Machine& machine) {
  std::string out =
      fmt::format("version = {}\nname = {}\nsource = {}\nmeasured = {}\n", kMachineVersion,
                  quoted(machine.name), quoted(machine.source), machine.measured);
  write_cpu(out, machine.cpu);
  if (machine.disk) write_disk(out, *machine.disk);
  if (machine.gpu) write_gpu(out, *machine.gpu);
  return out;
}

Machine parse_machine(std::string_view text, const std::string& name) {
  if (text.size() > kMostText.count)
    throw_error(ErrorCode::kBadFile, "{}: {} bytes are too many for a machine file",
                printable(name, 400), text.size());
  const toml::table root = parse_toml(text, name);
  return read_machine(TableReader(root, name), name);
}

Machine load_machine(const std::string& path) {
  return parse_machine(read_small_file(path, kMostText), path);
}

void save_machine(const std::string& path, const Machine& machine) {
  replace_file(path, to_toml(machine));
}

}  // namespace hearth::profiler
