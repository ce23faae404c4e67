#include "kernels/gpu/lane_block.h"
#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kHandOverThreads = 1024;

// `begin` is the thread that has the first word; then the one behind the last, of another warp: the
// few words of one part after another are not all copied by the same threads, which would wait for
// memory each time.
HEARTH_DEVICE void copy_words(const void* from, void* to, std::uint64_t bytes, unsigned& begin) {
  const auto* source = static_cast<const std::uint32_t*>(from);
  auto* destination = static_cast<std::uint32_t*>(to);
  const std::uint64_t words = bytes / 4;
  for (std::uint64_t i = (thread_index() - begin) % kHandOverThreads; i < words;
       i += kHandOverThreads)
    destination[i] = load_word(source + i);
  begin += static_cast<unsigned>((words + 63) / 64 * 64);
}

// One block: what it writes are some tens of kilobytes, of which the link takes a microsecond, and
// no other block has to be waited for. Nothing of the mapped memory is read, which would take as
// long.
HEARTH_KERNEL(kHandOverThreads) hand_over_block(HandOverTask task) {
  wait_for_previous();
  const LaneBlock& to = task.to;
  const std::uint32_t count = *task.job_count;
  HEARTH_ASSERT(count <= to.shape.pairs());
  HEARTH_ASSERT(task.x.stride == to.x.stride);
  if (count == 0) {
    if (thread_index() == 0) store_release_system(&to.control->done, task.stamp);
    return;
  }
  const std::uint64_t pairs = std::uint64_t{task.x.rows} * to.shape.experts_used;
  const std::uint64_t values = std::uint64_t{task.x.rows} * task.x.stride;
  unsigned begin = 0;
  copy_words(task.jobs, to.jobs, count * sizeof(LaneJob), begin);
  copy_words(task.x_rows, to.x_rows, pairs * sizeof(std::uint32_t), begin);
  if (task.x_weights != nullptr)
    copy_words(task.x_weights, to.x_weights, pairs * sizeof(float), begin);
  if (to.x.values != nullptr) copy_words(task.x.values, to.x.values, values * sizeof(float), begin);
  copy_words(task.x.codes, to.x.codes, values, begin);
  copy_words(task.x.scales, to.x.scales, values / 32 * sizeof(float), begin);
  copy_words(task.x.sums, to.x.sums, values / 16 * sizeof(std::int16_t), begin);
  if (thread_index() == 0) to.control->job_count = count;
  fence_system();  // each thread what it wrote; then all have
  sync_threads();
  if (thread_index() == 0) store_release_system(&to.control->doorbell, task.stamp);
}

void launch_hand_over(const HandOverTask& task, NativeStream stream) {
  if (task.x.rows == 0) return;
  launch(hand_over_block, {.threads = kHandOverThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
