// How near the kernels of a GPU come to its memory.
//
//   bench_gpu_kernels [--small] [--json FILE] [FORMAT]
//   bench_gpu_kernels --device
//
// Products of every weight format (or of FORMAT alone) with 1, 2, 4 and 8 rows in the shapes of
// Qwen3-30B-A3B: a dense matrix of 4096 × 2048, and of 128 experts the 8 that each row chooses, all
// different, gate and up of 768 × 2048 and down of 2048 × 768. Attention of its 32 heads over 4096
// and 32768 positions. Dense matrices with the 512 rows of a prompt. Resolving, guessing, gathering
// and handing over of experts; the other operations with one row. All in captured graphs, as
// decoding is, that walk through memory which no cache holds. Columns: microseconds of one launch,
// GB/s of weights or of keys and values, and what that is of what a kernel reads that does nothing
// else, or of what the link carries; of many rows 10^12 operations a second.
//
// --small: sizes for the emulation, whose figures mean nothing. --device: only which GPU is found.
// Exit code 3: none.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "benchmarks/support/gpu_bench.h"
#include "benchmarks/support/gpu_cases.h"
#include "kernels/gpu/backend.h"

namespace hearth::kernels {
namespace {

constexpr int kExitNoGpu = 3;

GpuBenchSizes small_sizes() {
  return {.dense_rows = 64,
          .columns = 256,
          .expert_ff = 256,
          .experts_used = 2,
          .vocabulary = 5000,
          .rows = {2},
          .prompt_rows = 9,
          .slots = 256,
          .contexts = {64},
          .scratch = 16 * kMiB,
          .memory = 8 * kMiB,
          .host_memory = kMiB,
          .most_repeats = 1,
          .time = Nanoseconds(0)};
}

void print_table(const DeviceProperties& device, const GpuBench& bench) {
  fmt::print(
      "{} ({}, {}): a kernel that only reads reaches {:.1f} GB/s, a copy over the link {:.1f}\n\n",
      device.name, device.architecture, device.driver, bench.read_gb_s(), bench.link_gb_s());
  fmt::print(
      "| operation                | format  | rows |       µs |     GB/s | of it  |   TOP/s |\n");
  fmt::print(
      "|--------------------------|---------|-----:|---------:|---------:|-------:|--------:|\n");
  for (const GpuBenchResult& r : bench.results()) {
    const std::string rate =
        r.gb_s > 0 ? fmt::format("{:8.1f} | {:4.0f} %", r.gb_s, 100 * r.gb_s / bench.peak_gb_s(r))
                   : fmt::format("{:8} | {:6}", "", "");
    const std::string tops = r.tops > 0 ? fmt::format("{:7.1f}", r.tops) : std::string(7, ' ');
    fmt::print("| {:24} | {:7} | {:4} | {:8.2f} | {} | {} |\n", r.operation, r.format, r.rows,
               r.microseconds, rate, tops);
  }
}

// Of the table of operations those that no case above is of: read_memory is the measure.
void print_missing(const GpuBench& bench) {
  std::string missing;
  for (const std::string_view name : {
#define GPU_OPERATION(name, Task) #name,
#include "kernels/gpu/operations.def"
#undef GPU_OPERATION
       }) {
    const auto is_of = [&](const GpuBenchResult& r) { return r.operation.starts_with(name); };
    if (name != "read_memory" && std::ranges::none_of(bench.results(), is_of))
      missing += fmt::format("{}{}", missing.empty() ? "" : ", ", name);
  }
  if (!missing.empty()) fmt::print("\nnot measured: {}\n", missing);
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

void write_json(const std::string& path, const DeviceProperties& device, const GpuBench& bench) {
  std::vector<std::string> rows;
  for (const GpuBenchResult& r : bench.results())
    rows.push_back(fmt::format(
        R"(    {{"operation": {}, "format": {}, "rows": {}, "microseconds": {:.3f}, "gb_s": {:.3f}, "of": "{}", "tops": {:.3f}}})",
        quoted(r.operation), quoted(r.format), r.rows, r.microseconds, r.gb_s,
        r.over_link ? "link" : "memory", r.tops));
  std::ofstream out(path);
  out << fmt::format(
      "{{\n  \"device\": {},\n  \"architecture\": {},\n  \"driver\": {},\n  \"read_gb_s\": "
      "{:.3f},\n  \"link_gb_s\": {:.3f},\n"
      "  \"kernels\": [\n{}\n  ]\n}}\n",
      quoted(device.name), quoted(device.architecture), quoted(device.driver), bench.read_gb_s(),
      bench.link_gb_s(), fmt::join(rows, ",\n"));
  if (!out.flush()) throw_error(ErrorCode::kIo, "{}: cannot be written", printable(path, 400));
}

struct Options {
  bool small = false;
  bool device = false;
  std::optional<std::string> json;
  std::string format;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--small")
      options.small = true;
    else if (argument == "--device")
      options.device = true;
    else if (argument == "--json" && i + 1 < argc)
      options.json = argv[++i];
    else
      options.format = argument;
  }
  const auto named = [&](const WeightFormatTraits& format) {
    return format.name == options.format;
  };
  if (!options.format.empty() && std::ranges::none_of(kWeightFormats, named))
    throw_error(ErrorCode::kUsage,
                "no weight format is called {}; give [--small] [--json FILE] "
                "[FORMAT]",
                printable(options.format));
  return options;
}

int run(const Options& options) {
  for (const GpuBackend& backend : gpu_backends()) {
    const GpuDevices found = backend.find();
    if (found.devices.empty()) {
      fmt::print(stderr, "{}: {}\n", backend.name, found.why_none);
      continue;
    }
    if (options.device) {
      const DeviceProperties& first = found.devices.front();
      fmt::print("{}, {}, {}\n", first.name, first.architecture, first.driver);
      return 0;
    }
    const auto device = backend.open(found.devices.front().ordinal);
    GpuBench bench(*device, backend.kernels(), options.small ? small_sizes() : GpuBenchSizes{});
    measure_all(bench, options.format);
    print_table(device->properties(), bench);
    if (options.format.empty()) print_missing(bench);
    if (options.json) write_json(*options.json, device->properties(), bench);
    return 0;
  }
  fmt::print(stderr, "bench_gpu_kernels: there is no GPU that this program can use\n");
  return kExitNoGpu;
}

}  // namespace
}  // namespace hearth::kernels

int main(int argc, char** argv) {
  try {
    return hearth::kernels::run(hearth::kernels::parse(argc, argv));
  } catch (const hearth::Error& error) {
    fmt::print(stderr, "bench_gpu_kernels: {}\n", error.what());
    return error.code() == hearth::ErrorCode::kUsage ? 2 : 1;
  }
}
