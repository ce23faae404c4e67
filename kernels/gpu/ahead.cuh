// Asking for memory before it is read.
#pragma once

#include "kernels/gpu/ahead.h"
#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr std::uint32_t kCacheLine = 128;

// Bytes [at, at + bytes), a line for each thread of `threads` at a time. No collective. Unrolled,
// it would begin with a division, to know how often it goes around.
HEARTH_DEVICE void prefetch_bytes(const void* at, std::uint32_t bytes, unsigned thread,
                                  unsigned threads) {
  const auto* const first = static_cast<const std::byte*>(at);
  HEARTH_NOT_UNROLLED
  for (std::uint32_t i = thread * kCacheLine; i < bytes; i += threads * kCacheLine)
    prefetch(first + i);
}

// The same by the block; nothing where there are none.
template <typename T>
HEARTH_DEVICE void prefetch_values(const T* first, std::uint32_t count) {
  constexpr std::uint32_t kBytes = sizeof(T);
  if (first != nullptr) prefetch_bytes(first, count * kBytes, thread_index(), block_threads());
}

// The share of a block, of those behind the launch's own.
HEARTH_DEVICE void ask_ahead(const Ahead& ahead, std::uint32_t block) {
  for (unsigned i = 0; i < kMostAhead; ++i) {
    const Ahead::Part& part = ahead.parts[i];
    const std::uint32_t blocks = ahead_blocks(part);
    if (block < blocks) {
      const std::uint32_t begin = block * kAheadBytesOfBlock, left = part.bytes - begin;
      prefetch_bytes(part.at + begin, left < kAheadBytesOfBlock ? left : kAheadBytesOfBlock,
                     thread_index(), block_threads());
    }
    block -= blocks;  // of the one that was found, to what is below no count
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
