#include "benchmarks/support/gpu_prompt_cases.h"

#include <string>
#include <vector>

namespace hearth::kernels {
namespace {

// A prompt of 512 rows has 128, each with 32 rows where a row uses 8.
std::uint32_t experts_of(const GpuBenchSizes& sizes) { return sizes.prompt_rows / 4; }

// Pairs in the order of experts, as many for each as for the others.
std::uint32_t first_pair(std::uint32_t pairs, std::uint32_t expert, std::uint32_t experts) {
  return static_cast<std::uint32_t>(std::uint64_t{pairs} * expert / experts);
}

// Every launch has experts of its own, as every layer has.
void measure_experts(GpuBench& bench, WeightFormat format, bool down) {
  const GpuBenchSizes& sizes = bench.sizes();
  const std::uint32_t rows = sizes.prompt_rows, pairs = rows * sizes.experts_used;
  const std::uint32_t experts = experts_of(sizes);
  const WeightMatrix matrix{format, down ? sizes.columns : sizes.expert_ff,
                            down ? sizes.expert_ff : sizes.columns, nullptr};
  const std::uint32_t matrices = down ? 1 : 2;
  const double bytes = 1.0 * experts * matrices * static_cast<double>(matrix.bytes());
  ProductTask task{.format = format, .rows = matrix.rows, .columns = matrix.columns};
  task.matrices = matrices;
  task.job_count = experts;
  task.job_matrix = down ? 2 : 0;
  task.most_rows = rows;
  task.x = QuantizeTask{.to = bench.activations(down ? pairs : rows, matrix.columns)}.result();
  if (down) {
    task.y = bench.carve<float>(std::size_t{pairs} * matrix.rows);
    task.y_stride = matrix.rows;
  } else {
    std::vector<std::uint32_t> x_rows(pairs);
    for (std::uint32_t pair = 0; pair < pairs; ++pair) x_rows[pair] = pair % rows;
    task.x_rows = bench.carve(x_rows);
    task.hidden = bench.activations(pairs, sizes.expert_ff);
  }
  std::vector<ExpertJob> lists;
  for (std::uint32_t i = 0; i < bench.repeats(bytes); ++i)
    for (std::uint32_t expert = 0; expert < experts; ++expert) {
      const std::uint64_t at = (std::uint64_t{i} * experts + expert) * matrices;
      const std::byte* const first = bench.walk(at, matrix.bytes());
      const std::uint32_t begin = first_pair(pairs, expert, experts);
      lists.push_back({.matrices = {first, bench.walk(at + 1, matrix.bytes()), first},
                       .expert = expert,
                       .begin = begin,
                       .rows = first_pair(pairs, expert + 1, experts) - begin});
    }
  const ExpertJob* const all = bench.carve(lists);
  bench.measure({down ? "matrix_product, down" : "matrix_product, gate, up",
                 std::string(traits(format).name), rows},
                bytes, [&](std::uint32_t i) {
                  task.jobs = all + std::size_t{i} * experts;
                  bench.kernels().matrix_product(task, bench.stream());
                });
}

}  // namespace

void measure_prompt_experts(GpuBench& bench, WeightFormat format) {
  measure_experts(bench, format, false);
  measure_experts(bench, format, true);
}

void measure_group(GpuBench& bench) {
  const std::uint32_t rows = bench.sizes().prompt_rows, used = bench.sizes().experts_used;
  const std::uint32_t pairs = rows * used, count = experts_of(bench.sizes());
  std::vector<std::uint16_t> ids;
  for (std::uint32_t pair = 0; pair < pairs; ++pair)
    ids.push_back(static_cast<std::uint16_t>(pair * 37 % count));
  std::vector<GroupedExpert> experts;
  for (std::uint32_t expert = 0; expert < count; ++expert) experts.push_back({.expert = expert});
  const GroupTask task{.rows = rows,
                       .experts_used = used,
                       .ids = bench.carve(ids),
                       .weights = bench.carve<float>(pairs),
                       .experts = bench.carve(experts),
                       .expert_count = count,
                       .jobs = bench.carve<ExpertJob>(count),
                       .x_rows = bench.carve<std::uint32_t>(pairs),
                       .x_weights = bench.carve<float>(pairs),
                       .results = bench.carve<const float*>(pairs)};
  bench.measure({"group", "", rows}, 0,
                [&](std::uint32_t) { bench.kernels().group(task, bench.stream()); });
}

}  // namespace hearth::kernels
