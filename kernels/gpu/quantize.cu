#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// Block (row, piece of it).
HEARTH_KERNEL(kPieceThreads) quantize_rows(QuantizeTask task) {
  wait_for_previous();
  const std::uint32_t row = block_x();
  const float* const from = task.x + row / task.heads * task.x_stride +
                            std::uint64_t{row % task.heads} * task.head_stride;
  const std::uint32_t at = place_in_row();
  float x[kValuesPerThread];
  load_four(from, at, task.to.columns, x);
  const QuantizedFour four = quantize_four(x);
  if (at < written_columns(task.to)) store_four(task.to, row, at, x, four);
}

void launch_quantize(const QuantizeTask& task, NativeStream stream) {
  const unsigned columns = written_columns(task.to);
  if (task.to.rows == 0 || columns == 0) return;
  launch(quantize_rows, piece_shape(task.to.rows, columns), stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
