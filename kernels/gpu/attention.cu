#include "kernels/gpu/attention_walk.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_quantize(const QuantizeTask& task, NativeStream stream);

namespace {

unsigned queries_of_kv_head(const AttendTask& task) {
  return task.rows * (task.heads / task.kv_heads);
}
// KV heads × pieces of n queries.
unsigned pieces(const AttendTask& task, unsigned n) {
  return task.kv_heads * ((queries_of_kv_head(task) + n - 1) / n);
}
unsigned form_bytes(const AttendTask& task, unsigned n) {
  const KvLayout& keys = task.keys.layout;
  return query_form_bytes(n, keys.dim, keys.family != KvFamily::kFloat);
}

template <unsigned n>
void launch_chunks(const AttendTask& task, NativeStream stream) {
  launch(attend_chunks<n>,
         {.blocks_x = kMaxAttentionChunks,
          .blocks_y = pieces(task, n),
          .threads = kAttendThreads,
          .dynamic_shared = form_bytes(task, n)},
         stream, task);
}

// Few rows would leave a GPU idle otherwise.
void launch_side_by_side(const AttendTask& task, NativeStream stream) {
  const unsigned queries = queries_of_kv_head(task);
  if (queries == 1)
    launch_chunks<1>(task, stream);
  else if (queries <= 4)
    launch_chunks<4>(task, stream);
  else
    launch_chunks<8>(task, stream);
}

void launch_walk(const AttendTask& task, NativeStream stream) {
  launch(walk_chunks,
         {.blocks_x = pieces(task, kWalkQueries),
          .threads = kAttendThreads,
          .dynamic_shared = form_bytes(task, kWalkQueries)},
         stream, task);
}

// Whether blocks of activations would have values of two heads, which no block of threads has.
bool blocks_cross_heads(const AttendTask& task) {
  const HeadResults& results = task.results;
  return results.to.codes != nullptr && !results.apart && task.value_dim % 32 != 0;
}

void launch_merge(const AttendTask& task, bool walked, NativeStream stream) {
  const unsigned asking = task.rows == 1 ? ahead_blocks(task.ahead) : 0;
  launch(merge_chunks,
         {.blocks_x = task.heads + asking, .blocks_y = task.rows, .threads = kAttendThreads},
         stream, task, walked);
}

}  // namespace

void launch_attend(const AttendTask& given, NativeStream stream) {
  if (given.rows == 0) return;
  AttendTask task = given;
  if (task.values_in_keys) task.values = task.keys;
  const bool walked = task.rows > kMostSideBySideRows;
  if (walked)
    launch_walk(task, stream);
  else
    launch_side_by_side(task, stream);
  if (!blocks_cross_heads(task)) return launch_merge(task, walked, stream);
  const QuantizeTask::Destination to = task.results.to;
  task.results.to.codes = nullptr;
  launch_merge(task, walked, stream);
  launch_quantize({.x = to.values, .x_stride = to.stride, .to = to}, stream);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
