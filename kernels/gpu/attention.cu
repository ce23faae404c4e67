#include "kernels/gpu/attention.cuh"

#include "kernels/gpu/attention_merge.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {
namespace {

template <unsigned n>
void launch_chunks(const AttendTask& task, NativeStream stream) {
  const KvLayout& keys = task.keys.layout;
  const unsigned queries = task.rows * (task.heads / task.kv_heads);
  launch(attend_chunks<n>,
         {.blocks_x = kMaxAttentionChunks,
          .blocks_y = task.kv_heads * ((queries + n - 1) / n),
          .threads = kAttendThreads,
          .dynamic_shared = query_form_bytes(n, keys.dim, keys.family != KvFamily::kFloat)},
         stream, task);
}

}  // namespace

void launch_attend(const AttendTask& given, NativeStream stream) {
  if (given.rows == 0) return;
  AttendTask task = given;
  if (task.values_in_keys) task.values = task.keys;
  const unsigned queries = task.rows * (task.heads / task.kv_heads);
  if (queries == 1)
    launch_chunks<1>(task, stream);
  else if (queries <= 4)
    launch_chunks<4>(task, stream);
  else
    launch_chunks<8>(task, stream);
  launch(merge_chunks, {.blocks_x = task.heads, .blocks_y = task.rows, .threads = kAttendThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
