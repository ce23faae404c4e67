// The aligned window a direct read needs around an arbitrary byte range of a file.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace hearth::io {

struct ReadWindow {
  std::uint64_t offset = 0;  // in the file, aligned
  std::uint64_t length = 0;  // aligned
  std::uint64_t skip = 0;    // bytes of the window before the wanted range
  std::uint64_t needed = 0;  // skip + wanted length: what must really be read
};

constexpr ReadWindow read_window(std::uint64_t offset, std::uint64_t length,
                                 std::uint64_t alignment) {
  const std::uint64_t start = round_down(offset, alignment);
  const std::uint64_t skip = offset - start;
  return {start, round_up(skip + length, alignment), skip, skip + length};
}

// Bytes that hold the window of any range of `length`, wherever it starts.
constexpr std::uint64_t window_capacity(std::uint64_t length, std::uint64_t alignment) {
  return round_up(length, alignment) + (alignment > 1 ? alignment : 0);
}

}  // namespace hearth::io
