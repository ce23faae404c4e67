#include "kernels/gpu/kv_encode.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_encode_kv(const EncodeKvTask& task, NativeStream stream) {
  const unsigned slices = encoded_slices(task.parts[0]) + encoded_slices(task.parts[1]);
  if (task.rows == 0 || slices == 0) return;
  // However the rows lie: one that is the last of its tile, then whole tiles.
  launch(encode_tiles,
         {.blocks_x = (task.rows + kKvTile - 2) / kKvTile + 1,
          .blocks_y = task.heads,
          .blocks_z = slices,
          .threads = kEncodeThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
