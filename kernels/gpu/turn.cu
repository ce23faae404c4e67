#include "kernels/gpu/turn.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_turn(const TurnTask& task, NativeStream stream) {
  if (task.rows == 0 || task.heads == 0) return;
  launch(turn_heads, {.blocks_x = task.heads, .blocks_y = task.rows, .threads = kTurnThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
