#include "kernels/gpu/port.h"
#include "kernels/gpu/product.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kCombineThreads = 256;
// Ranks whose results a thread has under way together: some lie beyond the link.
constexpr unsigned kRanksTogether = 8;

// Block (256 columns, row). Ranks in their order, whatever finished first.
HEARTH_KERNEL(kCombineThreads) combine_rows(CombineTask task) {
  const std::uint32_t row = block_y();
  const std::uint32_t column = block_x() * block_threads() + thread_index();
  const bool exists = column < task.columns;
  const std::uint64_t first = std::uint64_t{row} * task.experts_used;
  // The wait before this launch orders it behind what the CPU wrote; only this shows it to it.
  if (task.done != nullptr) {
    if (thread_index() == 0) load_acquire_system(task.done);
    sync_threads();
  }
  float sum = 0;
  for (std::uint32_t begin = 0; begin < task.experts_used; begin += kRanksTogether) {
    const float* results[kRanksTogether];
    float weights[kRanksTogether], values[kRanksTogether];
    for (unsigned k = 0; k < kRanksTogether; ++k) {
      const std::uint64_t pair = first + (begin + k < task.experts_used ? begin + k : begin);
      results[k] = task.results[pair];
      weights[k] = task.weights != nullptr ? task.weights[pair] : 1.0f;
    }
    after_loads();
    for (unsigned k = 0; k < kRanksTogether; ++k) values[k] = results[k][exists ? column : 0];
    after_loads();
    for (unsigned k = 0; k < kRanksTogether && begin + k < task.experts_used; ++k)
      sum = begin + k == 0 ? values[0] * weights[0] : fma(values[k], weights[k], sum);
  }
  if (exists) task.out[row * task.out_stride + column] = sum;
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
