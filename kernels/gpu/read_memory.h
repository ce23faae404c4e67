// Reads memory as fast as a kernel can: what the rates of other kernels are compared with, and how
// hearth doctor measures a card and its link.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::kernels {

inline constexpr unsigned kReadMemoryThreads = 256;

struct ReadMemoryTask {
  const std::byte* from = nullptr;  // of the device, or of the host where the device maps it
  std::uint64_t bytes = 0;          // a multiple of 16, as both addresses are
  std::byte* to = nullptr;          // gets a copy; null: the bytes are read and left
  std::uint32_t blocks = 1;
  // [blocks × kReadMemoryThreads]: what each thread read, its words of four bytes joined by
  // exclusive or, so that the reading cannot be left out. All of them joined are those of all
  // words.
  std::uint32_t* joined = nullptr;
};

}  // namespace hearth::kernels
