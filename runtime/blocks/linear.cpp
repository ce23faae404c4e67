#include "runtime/blocks/linear.h"

#include <algorithm>

namespace hearth::runtime {
namespace {

// Weight rows per task: enough bytes that claiming a task costs nothing (about 4 µs at 20 GB/s),
// few enough that threads finish together.
std::uint32_t rows_per_task(const kernels::WeightMatrix& weights) {
  constexpr std::size_t kTaskBytes = 80 << 10;
  const std::size_t rows = round_up(kTaskBytes / weights.row_bytes() + 1, 32);
  return static_cast<std::uint32_t>(std::clamp<std::size_t>(rows, 32, 1024));
}

std::uint32_t tasks_of(const kernels::WeightMatrix& weights) {
  const std::uint32_t rows = rows_per_task(weights);
  return (weights.rows + rows - 1) / rows;
}

std::uint32_t tasks_of(const Projection& projection) {
  return projection.weights == nullptr ? 0 : tasks_of(*projection.weights);
}

}  // namespace

void normalize(const Step& step, const float* weight, float epsilon, kernels::RowRange rows) {
  kernels::ActivationBuffer& normed = step.scratch.normed;
  const std::uint32_t columns = step.scratch.shape.embedding;
  normed.set_shape(rows.end - rows.begin, columns);
  for_rows(step, normed.rows(), [&](std::uint32_t row, std::uint32_t) {
    step.kernels.rms_norm(step.hidden(rows.begin + row), weight, columns, epsilon,
                          normed.values(row));
    step.kernels.quantize(normed.values(row), columns, normed.codes(row), normed.scales(row),
                          normed.sums(row));
  });
}

void quantize_rows(const Step& step, kernels::ActivationBuffer& rows) {
  for_rows(step, rows.rows(), [&](std::uint32_t row, std::uint32_t) {
    step.kernels.quantize(rows.values(row), rows.columns(), rows.codes(row), rows.scales(row),
                          rows.sums(row));
  });
}

void project(const Step& step, const kernels::Activations& x,
             std::initializer_list<Projection> projections, std::size_t stride) {
  step.experts.collect(io::AsyncReader::Wait::kNow);  // keeps the disk's queue filled
  std::uint32_t tasks = 0;
  for (const Projection& projection : projections) tasks += tasks_of(projection);
  step.pool.run(tasks, [&](std::uint32_t task, std::uint32_t) {
    for (const Projection& projection : projections) {
      const std::uint32_t own = tasks_of(projection);
      if (task >= own) {
        task -= own;
        continue;
      }
      const kernels::WeightMatrix& weights = *projection.weights;
      const std::uint32_t begin = task * rows_per_task(weights);
      const std::uint32_t end = std::min(begin + rows_per_task(weights), weights.rows);
      step.kernels.matmul[static_cast<std::size_t>(weights.format)](weights, {begin, end}, x,
                                                                    projection.out + begin, stride);
      return;
    }
  });
}

void add_block_out(const Step& step) {
  const std::uint32_t columns = step.scratch.shape.embedding;
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
    step.kernels.add(step.block_out(row), columns, step.hidden(row));
  });
}

void normalize_block_out(const Step& step, const float* weight, float epsilon) {
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
    float* const out = step.block_out(row);
    step.kernels.rms_norm(out, weight, step.scratch.shape.embedding, epsilon, out);
  });
}

}  // namespace hearth::runtime
