#include "kernels/gpu/gate.cuh"

#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// Block (row, piece of it).
HEARTH_KERNEL(kPieceThreads) gate_rows(GateTask task) {
  wait_for_previous();
  const std::uint32_t row = block_x();
  const std::uint32_t at = place_in_row();
  float x[kValuesPerThread] = {};
  for (unsigned i = 0; i < kValuesPerThread; ++i)
    if (at + i < task.to.columns)
      x[i] = activate(task.activation, task.gate.x[row * task.gate.stride + at + i],
                      task.up.x[row * task.up.stride + at + i]);
  const QuantizedFour four = quantize_four(x);
  if (at < written_columns(task.to)) store_four(task.to, row, at, x, four);
}

void launch_gate(const GateTask& task, NativeStream stream) {
  const unsigned columns = written_columns(task.to);
  if (task.to.rows == 0 || columns == 0) return;
  launch(gate_rows, piece_shape(task.to.rows, columns), stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
