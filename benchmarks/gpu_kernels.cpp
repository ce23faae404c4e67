// How near the kernels of a GPU come to its memory.
//
//   bench_gpu_kernels [--small] [--json FILE] [FORMAT]
//   bench_gpu_kernels --device
//
// Products of every weight format (or of FORMAT alone) with 1, 2, 4 and 8 rows in the shapes of
// Qwen3-30B-A3B: a dense matrix of 4096 × 2048, and of 128 experts the 8 that each row chooses, all
// different, gate and up of 768 × 2048 and down of 2048 × 768. Attention of its 32 heads over 4096
// and 32768 positions. The other operations with one row. All in captured graphs, as decoding is,
// that walk through memory which no cache holds. Columns: microseconds of one launch, GB/s of
// weights or of keys and values, and what that is of what a kernel reads that does nothing else.
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
#include "kernels/gpu/backend.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kHeads = 32, kKvHeads = 4, kHeadDim = 128;
constexpr int kExitNoGpu = 3;

GpuBenchSizes small_sizes() {
  return {.dense_rows = 64,
          .columns = 256,
          .expert_ff = 256,
          .experts_used = 2,
          .rows = {2},
          .contexts = {64},
          .memory = 8 * kMiB,
          .most_repeats = 1,
          .time = Nanoseconds(0)};
}

void measure_dense(GpuBench& bench, WeightFormat format, std::uint32_t rows) {
  const WeightMatrix matrix{format, bench.sizes().dense_rows, bench.sizes().columns, nullptr};
  ProductTask task{.format = format, .rows = matrix.rows, .columns = matrix.columns};
  task.x = QuantizeTask{.to = bench.activations(rows, matrix.columns)}.result();
  task.y = bench.carve<float>(std::size_t{rows} * matrix.rows);
  task.y_stride = matrix.rows;
  bench.measure({"product", std::string(traits(format).name), rows},
                static_cast<double>(matrix.bytes()), [&](std::uint32_t i) {
                  task.dense[0] = bench.walk(i, matrix.bytes());
                  bench.kernels().product(task, bench.stream());
                });
}

// Of each row the experts it chose, which no other row did.
void measure_experts(GpuBench& bench, WeightFormat format, std::uint32_t rows, bool down) {
  const std::uint32_t used = bench.sizes().experts_used, ff = bench.sizes().expert_ff;
  const std::uint32_t jobs = used * rows;
  const WeightMatrix matrix{format, down ? bench.sizes().columns : ff,
                            down ? ff : bench.sizes().columns, nullptr};
  const std::uint32_t matrices = down ? 1 : 2;
  const double bytes = 1.0 * jobs * matrices * static_cast<double>(matrix.bytes());
  ProductTask task{.format = format, .rows = matrix.rows, .columns = matrix.columns};
  task.matrices = matrices;
  task.job_count = jobs;
  task.job_matrix = down ? 2 : 0;
  task.most_rows = rows;
  task.x = QuantizeTask{.to = bench.activations(down ? jobs : rows, matrix.columns)}.result();
  std::vector<std::uint32_t> x_rows(jobs);
  for (std::uint32_t pair = 0; pair < jobs; ++pair) x_rows[pair] = pair / used;
  if (down) {
    task.y = bench.carve<float>(std::size_t{jobs} * matrix.rows);
    task.y_stride = matrix.rows;
  } else {
    task.x_rows = bench.carve(x_rows);
    task.hidden = bench.activations(jobs, ff);
  }
  std::vector<ExpertJob> lists;
  for (std::uint32_t i = 0; i < bench.repeats(bytes); ++i)
    for (std::uint32_t job = 0; job < jobs; ++job) {
      const std::uint64_t at = (std::uint64_t{i} * jobs + job) * matrices;
      const std::byte* const first = bench.walk(at, matrix.bytes());
      lists.push_back({.matrices = {first, bench.walk(at + 1, matrix.bytes()), first},
                       .expert = job,
                       .begin = job,
                       .rows = 1});
    }
  const ExpertJob* const all = bench.carve(lists);
  bench.measure(
      {down ? "product, down" : "product, gate and up", std::string(traits(format).name), rows},
      bytes, [&](std::uint32_t i) {
        task.jobs = all + std::size_t{i} * jobs;
        bench.kernels().product(task, bench.stream());
      });
}

void measure_products(GpuBench& bench, WeightFormat format) {
  for (const std::uint32_t rows : bench.sizes().rows) {
    measure_dense(bench, format, rows);
    measure_experts(bench, format, rows, false);
    measure_experts(bench, format, rows, true);
  }
}

KvMemory cache(GpuBench& bench, KvFormat format, KvPart part, std::uint32_t context,
               std::byte* tiles) {
  const std::uint32_t count = (context + kKvTile - 1) / kKvTile;
  const KvLayout layout = kv_layout(format, part, kHeadDim);
  const bool ring = traits(format).quantized();
  return {.layout = layout,
          .tiles = tiles,
          .tiles_per_head = count,
          .recent = ring ? bench.carve<std::byte>(std::size_t{kKvHeads} * 3 * layout.f16_tile_bytes)
                         : nullptr,
          .recent_tiles = ring ? 3u : 0u};
}

std::uint64_t cache_bytes(KvFormat format, KvPart part, std::uint32_t context) {
  return std::uint64_t{kKvHeads} * ((context + kKvTile - 1) / kKvTile) *
         kv_tile_bytes(format, part, kHeadDim);
}

void measure_attention(GpuBench& bench, KvFormat format, std::uint32_t context) {
  const std::uint64_t keys = cache_bytes(format, KvPart::kKeys, context);
  const std::uint64_t values = cache_bytes(format, KvPart::kValues, context);
  if (keys + values > bench.walked().count)
    return fmt::print(stderr, "not measured, for want of memory: attend, {} positions in {}\n",
                      context, traits(format).name);
  constexpr std::uint64_t kWidth = std::uint64_t{kHeads} * kHeadDim;
  AttendTask task{.rows = 1,
                  .heads = kHeads,
                  .kv_heads = kKvHeads,
                  .value_dim = kHeadDim,
                  .scale = 0.01f,
                  .query_stride = kWidth,
                  .result_stride = kWidth,
                  .result_head_stride = kHeadDim};
  task.position = bench.carve(std::vector<std::uint32_t>{context - 1});
  task.queries = bench.carve<float>(kWidth);
  task.states = bench.carve<float>(attend_state_floats(1, kHeads, kHeadDim));
  task.results = bench.carve<float>(kWidth);
  task.keys = cache(bench, format, KvPart::kKeys, context, nullptr);
  task.values = cache(bench, format, KvPart::kValues, context, nullptr);
  bench.measure({fmt::format("attend, {} positions", context), std::string(traits(format).name), 1},
                static_cast<double>(keys + values), [&](std::uint32_t i) {
                  std::byte* const both = bench.walk(i, keys + values);
                  task.keys.tiles = both;
                  task.values.tiles = both + keys;
                  bench.kernels().attend(task, bench.stream());
                });
}

// What reads next to nothing: the time of a launch, and of what threads wait for one another.
void measure_rows(GpuBench& bench) {
  const std::uint32_t columns = bench.sizes().columns;
  const auto task = [&] {
    return QuantizeTask{
        .x = bench.carve<float>(columns), .x_stride = columns, .to = bench.activations(1, columns)};
  };
  const QuantizeTask quantize = task();
  bench.measure({"quantize", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().quantize(quantize, bench.stream()); });
  const NormalizeTask normalize{.quantize = task(), .weight = bench.carve<float>(columns)};
  bench.measure({"normalize", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().normalize(normalize, bench.stream()); });
}

void measure_combine(GpuBench& bench) {
  const std::uint32_t columns = bench.sizes().columns, used = bench.sizes().experts_used;
  const auto* const rows = bench.carve<float>(std::size_t{used} * columns);
  std::vector<const float*> results;
  for (std::uint32_t i = 0; i < used; ++i) results.push_back(rows + std::size_t{i} * columns);
  const CombineTask task{.rows = 1,
                         .experts_used = used,
                         .columns = columns,
                         .results = bench.carve(results),
                         .weights = bench.carve<float>(used),
                         .out = bench.carve<float>(columns),
                         .out_stride = columns};
  bench.measure({"combine", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().combine(task, bench.stream()); });
}

void measure_turn(GpuBench& bench) {
  const TurnTask task{.rows = 1,
                      .heads = kHeads,
                      .dim = kHeadDim,
                      .x = bench.carve<float>(kHeads * kHeadDim),
                      .stride = kHeads * kHeadDim,
                      .head_stride = kHeadDim,
                      .cosine = bench.carve<float>(kHeadDim),
                      .sine = bench.carve<float>(kHeadDim),
                      .half = kHeadDim / 2};
  bench.measure({"turn", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().turn(task, bench.stream()); });
}

// The row whose tile is full: in a quantized format it is encoded now.
void measure_store(GpuBench& bench, KvFormat format) {
  constexpr std::uint32_t kContext = 128;
  const std::string name(traits(format).name);
  const std::uint32_t* const position = bench.carve(std::vector<std::uint32_t>{kContext - 1});
  auto* const tiles = bench.carve<std::byte>(cache_bytes(format, KvPart::kKeys, kContext));
  const StoreKvTask store{.rows = 1,
                          .heads = kKvHeads,
                          .position = position,
                          .x = bench.carve<float>(kKvHeads * kHeadDim),
                          .stride = kKvHeads * kHeadDim,
                          .to = cache(bench, format, KvPart::kKeys, kContext, tiles)};
  bench.measure({"store_kv", name, 1}, 0,
                [&](std::uint32_t) { bench.kernels().store_kv(store, bench.stream()); });
  const EncodeKvTask encode{.rows = 1, .heads = kKvHeads, .position = position, .memory = store.to};
  if (traits(format).quantized())
    bench.measure({"encode_kv", name, 1}, 0,
                  [&](std::uint32_t) { bench.kernels().encode_kv(encode, bench.stream()); });
}

void measure_all(GpuBench& bench, std::string_view only) {
  for (const WeightFormatTraits& format : kWeightFormats)
    if (only.empty() || only == format.name) measure_products(bench, format.format);
  if (!only.empty()) return;
  for (const std::uint32_t context : bench.sizes().contexts)
    for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0, KvFormat::kQ4_0})
      measure_attention(bench, format, context);
  measure_rows(bench);
  measure_combine(bench);
  measure_turn(bench);
  for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0}) measure_store(bench, format);
}

void print_table(const DeviceProperties& device, const GpuBench& bench) {
  fmt::print("{} ({}, {}): a kernel that only reads reaches {:.1f} GB/s\n\n", device.name,
             device.architecture, device.driver, bench.read_gb_s());
  fmt::print("| operation                | format  | rows |       µs |     GB/s | memory |\n");
  fmt::print("|--------------------------|---------|-----:|---------:|---------:|-------:|\n");
  for (const GpuBenchResult& r : bench.results()) {
    const std::string rate =
        r.gb_s > 0 ? fmt::format("{:8.1f} | {:4.0f} %", r.gb_s, 100 * r.gb_s / bench.read_gb_s())
                   : fmt::format("{:8} | {:6}", "", "");
    fmt::print("| {:24} | {:7} | {:4} | {:8.2f} | {} |\n", r.operation, r.format, r.rows,
               r.microseconds, rate);
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
        R"(    {{"operation": {}, "format": {}, "rows": {}, "microseconds": {:.3f}, "gb_s": {:.3f}}})",
        quoted(r.operation), quoted(r.format), r.rows, r.microseconds, r.gb_s));
  std::ofstream out(path);
  out << fmt::format(
      "{{\n  \"device\": {},\n  \"architecture\": {},\n  \"driver\": {},\n  \"read_gb_s\": "
      "{:.3f},\n"
      "  \"kernels\": [\n{}\n  ]\n}}\n",
      quoted(device.name), quoted(device.architecture), quoted(device.driver), bench.read_gb_s(),
      fmt::join(rows, ",\n"));
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
