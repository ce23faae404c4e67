// The shared memory of an emulated block: one static object for each declaration, since blocks run
// one after another.
//
// Each block finds it filled with ones: a float that nobody wrote is a NaN, an integer is -1.
// Guards before and after it are looked at when the block ends.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace hearth::kernels::emulated {

// The number of the running block, counted over all launches.
std::uint64_t block_number();
// At the end of this block: throws EmulationError unless all of the bytes are ones.
void guard(const std::byte* bytes, std::size_t count);
// As many bytes as the launch asked for, filled and guarded likewise.
std::byte* dynamic_shared_memory();

template <typename T>
class SharedMemory {
 public:
  static_assert(std::is_trivial_v<T>, "shared memory has no constructors on a GPU");

  T& of_this_block() {
    if (block_ != block_number()) {
      block_ = block_number();
      std::memset(&memory_, 0xff, sizeof(memory_));
      guard(memory_.before.data(), memory_.before.size());
      guard(memory_.after.data(), memory_.after.size());
    }
    return memory_.value;
  }

 private:
  struct Guarded {
    alignas(16) std::array<std::byte, 64> before;
    alignas(16) T value;
    std::array<std::byte, 64> after;
  };
  Guarded memory_;
  std::uint64_t block_ = 0;
};

}  // namespace hearth::kernels::emulated
