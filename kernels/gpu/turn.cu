#include "kernels/gpu/turn.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_turn(const TurnTask& task, NativeStream stream) {
  unsigned heads = 0;
  for (const HeadGroup& group : task.groups) heads += group.heads;
  if (task.rows == 0 || heads == 0) return;
  launch(turn_heads, {.blocks_x = heads, .blocks_y = task.rows, .threads = kTurnThreads}, stream,
         task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
