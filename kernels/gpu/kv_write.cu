#include "kernels/gpu/kv_write.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_store_kv(const StoreKvTask& task, NativeStream stream) {
  if (task.rows == 0) return;
  // However the rows lie: one that is the last of its tile, then whole tiles.
  launch(store_kv_rows,
         {.blocks_x = (task.rows + kKvTile - 2) / kKvTile + 1,
          .blocks_y = task.heads,
          .threads = kStoreThreads},
         stream, task);
}

void launch_encode_kv(const EncodeKvTask& task, NativeStream stream) {
  const KvLayout& layout = task.memory.layout;
  if (task.rows == 0 || layout.family == KvFamily::kFloat) return;
  const LaunchShape shape{.blocks_x = (task.rows + layout.tile - 2) / layout.tile + 1,
                          .blocks_y = task.heads,
                          .blocks_z = layout.dim / layout.slice};
  LaunchShape threads = shape;
  if (layout.family == KvFamily::kKvarn) {
    threads.threads = kKvarnThreads;
    launch(encode_kvarn_tiles, threads, stream, task);
  } else {
    threads.threads = kEncodeBlockThreads;
    launch(encode_block_tiles, threads, stream, task);
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
