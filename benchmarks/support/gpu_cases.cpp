#include "benchmarks/support/gpu_cases.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "benchmarks/support/gpu_lane_cases.h"
#include "benchmarks/support/gpu_prompt_cases.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kHeads = 32, kKvHeads = 4, kHeadDim = 128;

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

// The rows of a prompt: what the arithmetic takes, not the weights.
void measure_matrix(GpuBench& bench, WeightFormat format) {
  const std::uint32_t rows = bench.sizes().prompt_rows;
  const WeightMatrix matrix{format, bench.sizes().dense_rows, bench.sizes().columns, nullptr};
  ProductTask task{.format = format, .rows = matrix.rows, .columns = matrix.columns};
  task.x = QuantizeTask{.to = bench.activations(rows, matrix.columns)}.result();
  task.y = bench.carve<float>(std::size_t{rows} * matrix.rows);
  task.y_stride = matrix.rows;
  const double operations = 2.0 * rows * matrix.rows * matrix.columns;
  bench.measure({"matrix_product", std::string(traits(format).name), rows},
                {.bytes = static_cast<double>(matrix.bytes()), .operations = operations},
                [&](std::uint32_t i) {
                  task.dense[0] = bench.walk(i, matrix.bytes());
                  bench.kernels().matrix_product(task, bench.stream());
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
  measure_matrix(bench, format);
  measure_prompt_experts(bench, format);
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
                  .results = {.to = bench.activations(1, kWidth)}};
  task.position = bench.carve(std::vector<std::uint32_t>{context - 1});
  task.queries = bench.carve<float>(kWidth);
  task.states = bench.carve<float>(attend_state_floats(1, kHeads, kHeadDim));
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
  const GateTask gate{.gate = {.x = bench.carve<float>(columns), .stride = columns},
                      .up = {.x = bench.carve<float>(columns), .stride = columns},
                      .to = bench.activations(1, columns)};
  bench.measure({"gate", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().gate(gate, bench.stream()); });
  NormalizeTask normalize{
      .rows = 1,
      .columns = columns,
      .x = bench.carve<float>(columns),
      .x_stride = columns,
      .added = {{.x = bench.carve<float>(columns), .stride = columns}},
      .outputs = {{.weight = bench.carve<float>(columns), .to = bench.activations(1, columns)}}};
  bench.measure({"normalize", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().normalize(normalize, bench.stream()); });
  const std::uint32_t used = bench.sizes().experts_used;
  const auto* const rows = bench.carve<float>(std::size_t{used} * columns);
  std::vector<const float*> results;
  for (std::uint32_t i = 0; i < used; ++i) results.push_back(rows + std::size_t{i} * columns);
  auto* const sums = bench.carve<float>(columns);
  normalize.experts = {.used = used,
                       .results = bench.carve(results),
                       .weights = bench.carve<float>(used),
                       .sums = sums,
                       .stride = columns};
  normalize.added[0].x = sums;
  bench.measure({"normalize, of experts", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().normalize(normalize, bench.stream()); });
}

void measure_route(GpuBench& bench) {
  constexpr std::uint32_t kExperts = 128;
  const std::uint32_t used = bench.sizes().experts_used;
  const RouteTask task{.spec = {.experts = kExperts, .used = used},
                       .rows = 1,
                       .logits = bench.carve<float>(kExperts),
                       .logit_stride = kExperts,
                       .ids = bench.carve<std::uint16_t>(used),
                       .weights = bench.carve<float>(used)};
  bench.measure({"route", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().route(task, bench.stream()); });
}

// The first and the last operation of a token.
void measure_vocabulary(GpuBench& bench) {
  const std::uint32_t vocabulary = bench.sizes().vocabulary, columns = bench.sizes().columns;
  const EmbedTask embed{.format = WeightFormat::kF16,
                        .vocabulary = 1,
                        .columns = columns,
                        .table = bench.carve<std::byte>(std::size_t{2} * columns),
                        .rows = 1,
                        .ids = bench.carve(std::vector<TokenId>{0}),
                        .out = bench.carve<float>(columns),
                        .out_stride = columns,
                        .unknown = bench.carve<std::uint32_t>(1)};
  bench.measure({"embed", "F16", 1}, 0,
                [&](std::uint32_t) { bench.kernels().embed(embed, bench.stream()); });
  constexpr std::uint32_t kCandidates = 40;
  const SampleTask sample{
      .rows = 1,
      .vocabulary = vocabulary,
      .logits = bench.carve<float>(vocabulary),
      .stride = vocabulary,
      .count = kCandidates,
      .chosen = bench.carve<Candidate>(kCandidates),
      .scratch = bench.carve<Candidate>(sample_scratch(1, vocabulary, kCandidates))};
  bench.measure({"sample", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().sample(sample, bench.stream()); });
}

// A gated delta net of Qwen3.6-35B-A3B; its states are what is read.
void measure_delta(GpuBench& bench) {
  const DeltaNetShape shape{
      .key_heads = 16, .value_heads = 32, .key_dim = 128, .value_dim = 128, .taps = 4};
  const auto input = [&](std::uint32_t width) {
    return DeltaInput{bench.carve<float>(shape.key_heads * width), shape.key_heads * width, width};
  };
  const std::uint32_t per_key = shape.heads_per_key();
  const PrepareDeltaTask prepare{
      .shape = shape,
      .rows = 1,
      .query = input(shape.key_dim),
      .key = input(shape.key_dim),
      .value = input(per_key * shape.value_dim),
      .alpha = input(per_key),
      .beta = input(per_key),
      .convolution = bench.carve<float>(std::size_t{shape.channels()} * shape.taps),
      .window = bench.carve<float>(std::size_t{shape.channels()} * (shape.taps - 1)),
      .bias = bench.carve<float>(shape.value_heads),
      .rate = bench.carve<float>(shape.value_heads),
      .mixed = bench.carve<float>(shape.channels()),
      .decay = bench.carve<float>(shape.value_heads),
      .strength = bench.carve<float>(shape.value_heads)};
  UpdateDeltaTask update{.shape = shape,
                         .rows = 1,
                         .mixed = prepare.mixed,
                         .decay = prepare.decay,
                         .strength = prepare.strength,
                         .out = bench.carve<float>(shape.values())};
  const FinishDeltaTask finish{.shape = shape,
                               .x = update.out,
                               .z = input(per_key * shape.value_dim),
                               .norm = bench.carve<float>(shape.value_dim),
                               .to = bench.activations(1, shape.values())};
  const std::uint64_t states = std::uint64_t{4} * shape.values() * shape.key_dim;
  bench.measure({"prepare_delta", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().prepare_delta(prepare, bench.stream()); });
  bench.measure({"update_delta", "", 1}, static_cast<double>(states), [&](std::uint32_t i) {
    update.state = reinterpret_cast<float*>(bench.walk(i, states));
    bench.kernels().update_delta(update, bench.stream());
  });
  bench.measure({"finish_delta", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().finish_delta(finish, bench.stream()); });
}

// Keys and values go to the cache; the values as they are.
void measure_turn(GpuBench& bench, KvFormat format) {
  constexpr std::uint32_t kContext = 128;
  const auto group = [&](std::uint32_t heads) {
    return HeadGroup{.heads = heads,
                     .dim = kHeadDim,
                     .from = bench.carve<float>(heads * kHeadDim),
                     .from_stride = heads * kHeadDim,
                     .from_head_stride = kHeadDim};
  };
  const auto stored = [&](KvPart part) {
    HeadGroup heads = group(kKvHeads);
    heads.to = cache(bench, format, part, kContext,
                     bench.carve<std::byte>(cache_bytes(format, part, kContext)));
    return heads;
  };
  TurnTask task{.rows = 1,
                .position = bench.carve(std::vector<std::uint32_t>{kContext - 1}),
                .cosine = bench.carve<float>(kHeadDim),
                .sine = bench.carve<float>(kHeadDim),
                .groups = {group(kHeads), stored(KvPart::kKeys), stored(KvPart::kValues)}};
  task.groups[0].x = bench.carve<float>(kHeads * kHeadDim);
  task.groups[0].stride = kHeads * kHeadDim;
  task.groups[0].head_stride = kHeadDim;
  for (HeadGroup* const turned : {&task.groups[0], &task.groups[1]}) {
    turned->normed = kHeadDim;
    turned->weight = bench.carve<float>(kHeadDim);
    turned->half = kHeadDim / 2;
  }
  const std::string name(traits(format).name);
  bench.measure({"turn", name, 1}, 0,
                [&](std::uint32_t) { bench.kernels().turn(task, bench.stream()); });
  if (!traits(format).quantized()) return;
  // The row fills its tile, which is encoded now.
  const EncodeKvTask encode{.rows = 1,
                            .heads = kKvHeads,
                            .position = task.position,
                            .parts = {task.groups[1].to, task.groups[2].to}};
  bench.measure({"encode_kv", name, 1}, 0,
                [&](std::uint32_t) { bench.kernels().encode_kv(encode, bench.stream()); });
}

}  // namespace

void measure_all(GpuBench& bench, std::string_view only) {
  for (const WeightFormatTraits& format : kWeightFormats)
    if (only.empty() || only == format.name) measure_products(bench, format.format);
  if (!only.empty()) return;
  measure_lanes(bench);
  for (const std::uint32_t context : bench.sizes().contexts)
    for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0, KvFormat::kQ4_0})
      measure_attention(bench, format, context);
  measure_vocabulary(bench);
  measure_rows(bench);
  measure_route(bench);
  measure_group(bench);
  measure_delta(bench);
  for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0}) measure_turn(bench, format);
}

}  // namespace hearth::kernels
