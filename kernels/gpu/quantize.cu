#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_quantize(const QuantizeTask& task, NativeStream stream) {
  if (task.to.rows == 0) return;
  constexpr unsigned kPerBlock = kQuantizeThreads * kValuesPerThread;
  launch(quantize_rows,
         {.blocks_x = (task.to.stride + kPerBlock - 1) / kPerBlock,
          .blocks_y = task.to.rows,
          .threads = kQuantizeThreads},
         stream, task);
}

void launch_normalize(const NormalizeTask& task, NativeStream stream) {
  const unsigned rows = task.quantize.to.rows;
  if (rows == 0) return;
  launch(normalize_rows, {.blocks_x = rows, .threads = kQuantizeThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
