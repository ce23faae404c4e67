// What launches soon to come will read, whatever the ones before them find: matrices that all
// tokens pass. A norm, a merge of heads or a choice of experts is a few blocks that wait for one
// another, while the memory of the device has nothing to do, and the product behind it begins by
// waiting for its weights. So these launches have blocks that ask for them, and return: then the
// product finds them in the cache that all multiprocessors share. Nothing is read, so that no
// result can change.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::kernels {

inline constexpr std::uint32_t kMostAhead = 4;

struct Ahead {
  struct Part {
    const std::byte* at = nullptr;  // in device memory
    std::uint32_t bytes = 0;
  };
  Part parts[kMostAhead];
};

// Of one block.
inline constexpr std::uint32_t kAheadBytesOfBlock = 64 << 10;

constexpr std::uint32_t ahead_blocks(const Ahead::Part& part) {
  return part.bytes / kAheadBytesOfBlock + (part.bytes % kAheadBytesOfBlock != 0 ? 1 : 0);
}

// Behind those of the launch.
constexpr std::uint32_t ahead_blocks(const Ahead& ahead) {
  std::uint32_t blocks = 0;
  for (const Ahead::Part& part : ahead.parts) blocks += ahead_blocks(part);
  return blocks;
}

}  // namespace hearth::kernels
