#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kQuantizeThreads = 256;

// Block (x, row): values [1024 x, 1024 (x + 1)) of a row.
HEARTH_KERNEL(kQuantizeThreads) quantize_rows(QuantizeTask task) {
  const std::uint32_t row = block_y();
  const std::uint32_t at = (block_x() * block_threads() + thread_index()) * kValuesPerThread;
  float x[kValuesPerThread];
  load_four(task.x + row * task.x_stride, at, task.to.columns, x);
  const QuantizedFour four = quantize_four(x);
  if (at < written_columns(task.to)) store_four(task.to, row, at, x, four);
}

void launch_quantize(const QuantizeTask& task, NativeStream stream) {
  const unsigned columns = written_columns(task.to);
  if (task.to.rows == 0 || columns == 0) return;
  constexpr unsigned kPerBlock = kQuantizeThreads * kValuesPerThread;
  launch(quantize_rows,
         {.blocks_x = (columns + kPerBlock - 1) / kPerBlock,
          .blocks_y = task.to.rows,
          .threads = kQuantizeThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
