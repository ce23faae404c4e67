#include "kernels/gpu/read_memory.h"

#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// Loads of a thread that are under way together: with 8 blocks on each multiprocessor as many as
// memory needs, and over a link a block keeps 16 KiB of it busy.
constexpr unsigned kLoadsAtOnce = 4;

HEARTH_DEVICE std::uint32_t joined_words(const Word4& four) {
  return four.word[0] ^ four.word[1] ^ four.word[2] ^ four.word[3];
}

// Block: pieces of 16 KiB, a grid's width apart.
HEARTH_KERNEL(kReadMemoryThreads) read_pieces(ReadMemoryTask task) {
  wait_for_previous();
  const std::uint64_t words = task.bytes / sizeof(Word4);
  const std::uint64_t piece = std::uint64_t{kLoadsAtOnce} * kReadMemoryThreads;
  const auto* from = aligned<Word4>(task.from);
  auto* to = aligned<Word4>(task.to);
  std::uint32_t joined = 0;
  for (std::uint64_t first = block_x() * piece; first < words; first += grid_x() * piece) {
    Word4 four[kLoadsAtOnce];
    for (unsigned i = 0; i < kLoadsAtOnce; ++i) {
      const std::uint64_t at = first + i * kReadMemoryThreads + thread_index();
      four[i] = at < words ? load_16<Word4>(from + at) : Word4{};
    }
    for (unsigned i = 0; i < kLoadsAtOnce; ++i) {
      const std::uint64_t at = first + i * kReadMemoryThreads + thread_index();
      joined ^= joined_words(four[i]);
      if (to != nullptr && at < words) to[at] = four[i];
    }
  }
  task.joined[block_x() * kReadMemoryThreads + thread_index()] = joined;
}

void launch_read_memory(const ReadMemoryTask& task, NativeStream stream) {
  if (task.blocks == 0) return;
  launch(read_pieces, {.blocks_x = task.blocks, .threads = kReadMemoryThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
