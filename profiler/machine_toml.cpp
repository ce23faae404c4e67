#include "profiler/machine_toml.h"

#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 32
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/small_file.h"

namespace hearth::profiler {
namespace {

constexpr Bytes kMostText(256 << 10);
constexpr std::size_t kLongestLine = 4096;  // so that dotted keys cannot nest without end
constexpr std::size_t kMostRows = 256;      // of a list, or formats
constexpr std::size_t kLongestName = 1000;

struct Range {
  double lowest;
  double highest;
};
// What no machine is outside of: these find slips of units, not of taste.
constexpr Range kRateGbs{1e-4, 1e6};
constexpr Range kShare{0.01, 1};
constexpr Range kMicroseconds{0, 1e7};
constexpr Range kThreads{1, 4096};
constexpr Range kDepth{1, 65536};
constexpr Range kReadKib{1, 1 << 20};
constexpr Range kMemoryMib{64, 1 << 26};
constexpr Range kReservedMib{0, 1 << 26};

// ---- Reading -----------------------------------------------------------------------------------

using Keys = std::initializer_list<std::string_view>;

// A table of the file. Every value is checked as it is taken.
class Section {
 public:
  Section(const toml::table& table, std::string path, const std::string& file)
      : table_(table), path_(std::move(path)), file_(file) {}

  void allow_only(Keys known) const {
    for (const auto& [key, value] : table_)
      if (std::ranges::find(known, key.str()) == known.end())
        throw_error(ErrorCode::kBadFile, "{}: line {}: unknown key {}; known here: {}", file_,
                    line_of(value), printable(full(key.str())), fmt::join(known, ", "));
  }

  bool has(std::string_view key) const { return table_.contains(key); }

  std::string text(std::string_view key) const {
    const toml::node& value = node(key);
    const auto text = value.value<std::string>();
    if (!value.is_string()) wrong(key, "is not a string; put it in quotes");
    if (text->size() > kLongestName) wrong(key, "is longer than 1000 bytes; shorten it");
    if (std::ranges::any_of(*text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
      wrong(key, "holds a control character; write it as one plain line");
    return *text;
  }

  bool flag(std::string_view key) const {
    const toml::node& value = node(key);
    if (!value.is_boolean()) wrong(key, "is neither true nor false");
    return *value.value<bool>();
  }

  double number(std::string_view key, Range range) const {
    const toml::node& value = node(key);
    if (!value.is_number()) wrong(key, "is not a number");
    const double number = *value.value<double>();
    if (!(number >= range.lowest && number <= range.highest))  // NaN, too
      wrong(key, fmt::format("is {}; give {} to {}", number, range.lowest, range.highest));
    return number;
  }

  std::uint64_t whole(std::string_view key, Range range) const {
    if (!node(key).is_integer()) wrong(key, "is not a whole number");
    return static_cast<std::uint64_t>(number(key, range));
  }

  BytesPerSecond rate(std::string_view key) const {
    return std::round(number(key, kRateGbs) * 1e9);
  }

  Nanoseconds microseconds(std::string_view key) const {
    return Nanoseconds(std::llround(number(key, kMicroseconds) * 1e3));
  }

  Section section(std::string_view key) const {
    const toml::table* table = node(key).as_table();
    if (!table) wrong(key, "is not a table");
    return Section(*table, full(key), file_);
  }

  std::vector<Section> rows(std::string_view key, Keys known) const {
    const toml::array* array = node(key).as_array();
    if (!array) wrong(key, "is not a list of tables");
    if (array->empty() || array->size() > kMostRows)
      wrong(key, fmt::format("has {} rows; give 1 to {}", array->size(), kMostRows));
    std::vector<Section> rows;
    for (const toml::node& row : *array) {
      if (!row.is_table()) wrong(key, "is not a list of tables");
      rows.emplace_back(*row.as_table(), full(key), file_).allow_only(known);
    }
    return rows;
  }

  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, value] : table_) keys.emplace_back(key.str());
    return keys;
  }

  [[noreturn]] void wrong(std::string_view key, std::string_view what) const {
    throw_error(ErrorCode::kBadFile, "{}: line {}: {} {}", file_, line_of(node(key)),
                printable(full(key)), what);
  }

 private:
  static std::uint32_t line_of(const toml::node& node) { return node.source().begin.line; }

  std::string full(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  const toml::node& node(std::string_view key) const {
    if (const toml::node* found = table_.get(key)) return *found;
    throw_error(ErrorCode::kBadFile, "{}: line {}: {} is missing; add it", file_,
                std::max(line_of(table_), 1u), printable(full(key)));
  }

  const toml::table& table_;
  std::string path_;
  const std::string& file_;
};

std::vector<ThreadRate> read_thread_rates(const Section& section, std::string_view key) {
  std::vector<ThreadRate> rates;
  for (const Section& row : section.rows(key, {"threads", "gb_s"})) {
    rates.push_back({.threads = static_cast<std::uint32_t>(row.whole("threads", kThreads)),
                     .rate = row.rate("gb_s")});
    if (rates.size() > 1 && rates.back().threads <= rates[rates.size() - 2].threads)
      row.wrong("threads", "is not above that of the row before; sort the rows");
  }
  return rates;
}

// A bare key of TOML, as all names of weight formats are.
bool is_format_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && std::ranges::all_of(name, [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

std::vector<KernelRate> read_kernels(const Section& formats) {
  std::vector<KernelRate> kernels;
  for (const std::string& format : formats.keys()) {
    if (kernels.size() == kMostRows) formats.wrong(format, "is one format too many");
    if (!is_format_name(format)) formats.wrong(format, "is no name of a weight format");
    kernels.push_back({.format = format, .rates = read_thread_rates(formats, format)});
  }
  return kernels;
}

CpuMachine read_cpu(const Section& cpu) {
  cpu.allow_only({"name", "instruction_set", "cores", "memory_mib", "memory_read", "kernels",
                  "kernel_efficiency", "layer_overhead_us", "token_overhead_us"});
  return {.name = cpu.text("name"),
          .instruction_set = cpu.text("instruction_set"),
          .cores = static_cast<std::uint32_t>(cpu.whole("cores", kThreads)),
          .memory = kMiB * cpu.whole("memory_mib", kMemoryMib),
          .memory_read = read_thread_rates(cpu, "memory_read"),
          .kernels =
              cpu.has("kernels") ? read_kernels(cpu.section("kernels")) : std::vector<KernelRate>(),
          .kernel_efficiency = cpu.number("kernel_efficiency", kShare),
          .layer_overhead = cpu.microseconds("layer_overhead_us"),
          .token_overhead = cpu.microseconds("token_overhead_us")};
}

DiskMachine read_disk(const Section& disk) {
  disk.allow_only({"name", "io_uring", "direct", "random_reads"});
  DiskMachine machine{
      .name = disk.text("name"), .io_uring = disk.flag("io_uring"), .direct = disk.flag("direct")};
  const auto place = [](const DiskRate& rate) { return std::pair(rate.read, rate.depth); };
  std::vector<DiskRate>& rates = machine.random_reads;
  for (const Section& row :
       disk.rows("random_reads", {"read_kib", "depth", "gb_s", "latency_us"})) {
    rates.push_back({.read = kKiB * row.whole("read_kib", kReadKib),
                     .depth = static_cast<std::uint32_t>(row.whole("depth", kDepth)),
                     .rate = row.rate("gb_s"),
                     .latency = row.microseconds("latency_us")});
    if (rates.size() > 1 && place(rates.back()) <= place(rates[rates.size() - 2]))
      row.wrong("read_kib", "and depth do not come after those of the row before; sort the rows");
  }
  return machine;
}

GpuMachine read_gpu(const Section& gpu) {
  gpu.allow_only({"name", "memory_mib", "reserved_mib", "memory_read_gb_s", "host_to_device_gb_s",
                  "device_to_host_gb_s", "gather_gb_s", "host_to_device_shared_gb_s",
                  "cpu_shared_gb_s", "layer_overhead_us", "join_overhead_us"});
  GpuMachine machine{.name = gpu.text("name"),
                     .memory = kMiB * gpu.whole("memory_mib", kMemoryMib),
                     .reserved = kMiB * gpu.whole("reserved_mib", kReservedMib),
                     .memory_read = gpu.rate("memory_read_gb_s"),
                     .host_to_device = gpu.rate("host_to_device_gb_s"),
                     .device_to_host = gpu.rate("device_to_host_gb_s"),
                     .gather = gpu.rate("gather_gb_s"),
                     .host_to_device_shared = gpu.rate("host_to_device_shared_gb_s"),
                     .cpu_shared = gpu.rate("cpu_shared_gb_s"),
                     .layer_overhead = gpu.microseconds("layer_overhead_us"),
                     .join_overhead = gpu.microseconds("join_overhead_us")};
  if (machine.reserved >= machine.memory)
    gpu.wrong("reserved_mib", "leaves nothing of gpu.memory_mib; lower it");
  return machine;
}

Machine read_machine(const toml::table& root, const std::string& file) {
  const Section top(root, "", file);
  const std::uint64_t version = top.whole("version", {1, 1e9});
  if (version > kMachineVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: a machine file of version {}, this program reads {}; use a newer program or "
                "measure again with hearth doctor",
                file, version, kMachineVersion);
  top.allow_only({"version", "name", "source", "measured", "cpu", "disk", "gpu"});
  Machine machine{.name = top.text("name"),
                  .source = top.text("source"),
                  .measured = top.flag("measured"),
                  .cpu = read_cpu(top.section("cpu"))};
  if (top.has("disk")) machine.disk = read_disk(top.section("disk"));
  if (top.has("gpu")) machine.gpu = read_gpu(top.section("gpu"));
  return machine;
}

void check_text(std::string_view text, const std::string& name) {
  if (text.size() > kMostText.count)
    throw_error(ErrorCode::kBadFile, "{}: {} bytes are too many for a machine file", name,
                text.size());
  std::uint32_t number = 1;
  for (std::size_t begin = 0; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end - begin > kLongestLine)
      throw_error(ErrorCode::kBadFile, "{}: line {}: longer than {} bytes; break it", name, number,
                  kLongestLine);
    begin = end + 1;
  }
}

// ---- Writing -----------------------------------------------------------------------------------

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

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
  out += fmt::format(
      "\n[gpu]\nname = {}\nmemory_mib = {}\nreserved_mib = {}\nmemory_read_gb_s = {}\n"
      "host_to_device_gb_s = {}\ndevice_to_host_gb_s = {}\ngather_gb_s = {}\n"
      "host_to_device_shared_gb_s = {}\ncpu_shared_gb_s = {}\nlayer_overhead_us = {}\n"
      "join_overhead_us = {}\n",
      quoted(gpu.name), mib(gpu.memory), mib(gpu.reserved), gb_s(gpu.memory_read),
      gb_s(gpu.host_to_device), gb_s(gpu.device_to_host), gb_s(gpu.gather),
      gb_s(gpu.host_to_device_shared), gb_s(gpu.cpu_shared), microseconds(gpu.layer_overhead),
      microseconds(gpu.join_overhead));
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
  check_text(text, name);
  try {
    return read_machine(toml::parse(text), name);
  } catch (const toml::parse_error& error) {
    throw_error(ErrorCode::kBadFile, "{}: line {}: {}", name, error.source().begin.line,
                printable(error.description(), 200));
  }
}

Machine load_machine(const std::string& path) {
  return parse_machine(read_small_file(path, kMostText), path);
}

void save_machine(const std::string& path, const Machine& machine) {
  replace_file(path, to_toml(machine));
}

}  // namespace hearth::profiler
