#include "kernels/gpu/port.h"
#include "kernels/gpu/product.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kCombineThreads = 256;

// Block (256 columns, row). Ranks in their order, whatever finished first.
HEARTH_KERNEL(kCombineThreads) combine_rows(CombineTask task) {
  const std::uint32_t row = block_y();
  const std::uint32_t column = block_x() * block_threads() + thread_index();
  if (column >= task.columns) return;
  const std::uint64_t first = std::uint64_t{row} * task.experts_used;
  const float* const* results = task.results + first;
  const auto weight = [&](std::uint32_t rank) {
    return task.weights != nullptr ? task.weights[first + rank] : 1.0f;
  };
  float sum = results[0][column] * weight(0);
  for (std::uint32_t rank = 1; rank < task.experts_used; ++rank)
    sum = fma(results[rank][column], weight(rank), sum);
  task.out[row * task.out_stride + column] = sum;
}

void launch_combine(const CombineTask& task, NativeStream stream) {
  if (task.rows == 0 || task.experts_used == 0) return;
  launch(combine_rows,
         {.blocks_x = (task.columns + kCombineThreads - 1) / kCombineThreads,
          .blocks_y = task.rows,
          .threads = kCombineThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
