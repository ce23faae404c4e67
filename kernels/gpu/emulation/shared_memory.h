// The shared memory of an emulated block: one static object for each declaration, since blocks run
// one after another.
//
// Each block finds it filled with ones: a float that nobody wrote is a NaN, an integer is -1.
// Guards before and after it are looked at when the block ends.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace hearth::kernels::emulated {

// Fills what a declaration has with ones, the first time a block comes to it, and watches the
// guards: EmulationError at the end of the block unless all of their bytes are ones.
struct SharedDeclaration {
  std::byte* memory;     // guard, value, guard
  std::size_t bytes;     // of all three
  std::uint64_t* block;  // that it was last filled for, counted over all launches
};
inline constexpr std::size_t kGuardBytes = 64;
void enter_shared(const SharedDeclaration& declaration);
// As many bytes as the launch asked for, filled and guarded likewise.
std::byte* dynamic_shared_memory();

template <typename T>
class SharedMemory {
 public:
  static_assert(std::is_trivial_v<T>, "shared memory has no constructors on a GPU");

  T& of_this_block() {
    enter_shared({reinterpret_cast<std::byte*>(&memory_), sizeof(memory_), &block_});
    return memory_.value;
  }

 private:
  struct Guarded {
    alignas(16) std::array<std::byte, kGuardBytes> before;
    alignas(16) T value;
    std::array<std::byte, kGuardBytes> after;
  };
  // Without initialisers: static objects of the type are zeros, and need no guard that threads
  // would share. Blocks count from 1.
  Guarded memory_;
  std::uint64_t block_;
};

}  // namespace hearth::kernels::emulated
