// The one header that a kernel (.cuh) includes: what CUDA, HIP and the host emulation have in
// common.
//
// A kernel is written once, in `namespace hearth::kernels::HEARTH_GPU_TARGET` (cuda, hip or
// emulated), with nothing but what is listed here. The three targets are port/cuda.h, port/hip.h
// and port/emulated.h; no other file knows a vendor's names. Compiled with contraction off: a fused
// multiply-add happens where fma() is written, so that kernels can have the bits of the scalar
// ones.
//
//   HEARTH_KERNEL(threads)    void name(args) { … }: launched by launch() with blocks of at most
//                             that many threads. Arguments are copied: no references. A second
//                             number: blocks that shall have registers at once where it can be
//                             said.
//   HEARTH_ARGUMENT(Type)     the first of them, where in_place(argument) reads it as it was
//   passed:
//                             so that an index into it is no reason to copy it to the thread
//   HEARTH_DEVICE             a function that kernels call; also constexpr ones of the host's
//                             headers may be called.
//   HEARTH_SHARED(Type, name) one Type for the block, uninitialised; Type is trivial. The type of
//                             dynamic shared memory is HEARTH_DYNAMIC_SHARED(Type, name): a Type*,
//                             16-byte aligned, of the bytes the launch asked for.
//   HEARTH_TABLE              before the type of a constant table in device memory
//   HEARTH_NOT_UNROLLED       before a loop whose body is large
//   HEARTH_ASSERT(condition)  traps: the device is lost. For bugs, not for data.
//
// Order. Where a device can, a launch begins while the one before it in its stream still runs, so
// that its threads are there when that has ended (programmatic dependent launch). The first thing
// of every kernel is
//   wait_for_previous()       all that was launched before is over and seen; the launch behind this
//                             one may begin, and waits here in its turn
// Every thread calls it, and before it none returns, or reads or writes memory; what asks for lines
// of memory (prefetch) may stand before it, where begins_early() says that it is worth it.
//
// Where a thread is. Blocks are one-dimensional and a multiple of 64 threads, so that all warps are
// whole on every target.
//   thread_index() block_threads() lane_index() warp_index()
//   block_x() block_y() block_z() grid_x()
//   lanes()                   32 on CUDA and gfx10 and up, 64 on gfx9. A constant after compiling,
//                             never a template argument: arrays over warps have a place for each
//                             kFewestLanes threads.
//
// Collectives. ALL lanes of a warp call them, and all threads of a block call sync_threads(): a
// thread with nothing to do takes part with a neutral value, it does not return early. Threads that
// share a row of data are groups of `width` lanes (a power of two, at most 32), which exist on
// every target; a float must never be summed over lanes() many, for its bits would depend on the
// target.
//   sync_threads() sync_lanes()
//   shuffle(x, lane, width) shuffle_xor(x, mask)      x of 4 or 8 bytes; lanes count in the group
//   ballot(p) any_lane(p)
//   group_max<width>(x), group_sum<width>(x)          over a group, the same bits in every lane
//
// Memory.
//   load_byte(p), load_half(p), load_word(p), load_16<T>(p)
//                                 through the read-only path: nothing writes there while the kernel
//                                 runs; p aligned to 1, 2, 4 and 16 bytes
//   load_bytes<n>(p, words)       n words from an address that is aligned to kAlign; reads no byte
//                                 outside of the aligned words in which they lie
//   aligned<T>(p)                 p as an address of T, a type of 16 bytes: the emulation checks
//                                 it, since its compiler may split what a GPU does at once
//   prefetch(p)                   asks for the line of p, which is memory of the device, so that it
//                                 is nearer when it is read; nothing where there is no way to. It
//                                 reads nothing, so that whoever may write there does no harm
//   after_loads()                 no load before it is moved behind it, so that all of them are
//                                 under way when the first is used; left to themselves, compilers
//                                 save registers instead. All or none of 32 neighbouring lanes
//                                 call it
//   atomic_add(p, x), atomic_exchange(p, x): the old value; int, unsigned and unsigned long long
//   fence_system()
//   load_acquire_system(p), store_release_system(p, x): 32-bit flags in memory that the host maps
//
// Arithmetic, the same bits on every target (but which NaN):
//   fma(a, b, c), divide(a, b), square_root(x) (also of a double), nearest_even(x) → int
//   dot4(a, b, sum): sum + the products of four signed bytes each
//   count_ones(x); byte_permute(a, b, selector): bytes of b:a chosen by the low three bits of four
//   nibbles f32_of_f16(bits), f16_of_f32(x), f32_of_bf16(bits), bits_of(x), float_of(bits)
//   exponential(x): the polynomial of kernels/cpu/exp.h
//
// Tiles of signed bytes, for the matrix units where a target has some, else for dot4. They belong
// to 32 neighbouring lanes, of which all or none take part: a RowTile is 16 rows of 32 bytes, a
// ColumnTile 8 columns of 32 bytes. Of their 16 × 8 products lane l has sums[2 r + c], those of row
// l / 4 + 8 r with column l % 4 * 2 + c; what lies in a tile is the port's business.
//   load_tile(word_at, tile)      word_at(i, k): word k of the eight of row or column i
//   multiply_tiles(a, b, sums)    adds the products to sums, exact in int
//   multiply_half_tiles<h>(a, b, sums)    those of bytes 16 h to 16 h + 15
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/launch_shape.h"

#if defined(__HIP__)
#include "kernels/gpu/port/hip.h"
#elif defined(__CUDACC__)
#include "kernels/gpu/port/cuda.h"
#else
#include "kernels/gpu/port/emulated.h"
#endif

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kFewestLanes = 32;

HEARTH_DEVICE unsigned lane_index() { return thread_index() % lanes(); }
HEARTH_DEVICE unsigned warp_index() { return thread_index() / lanes(); }

struct alignas(16) Word4 {
  std::uint32_t word[4];
};

template <typename T>
HEARTH_DEVICE const T* aligned(const void* at) {
  require_aligned(at, alignof(T));
  return static_cast<const T*>(at);
}
template <typename T>
HEARTH_DEVICE T* aligned(void* at) {
  require_aligned(at, alignof(T));
  return static_cast<T*>(at);
}

HEARTH_DEVICE float f32_of_bf16(std::uint16_t bits) {
  return float_of(static_cast<std::uint32_t>(bits) << 16);
}

template <unsigned width, typename T>
HEARTH_DEVICE T group_max(T x) {
  for (unsigned mask = width / 2; mask > 0; mask /= 2) {
    const T other = shuffle_xor(x, mask);
    x = x > other ? x : other;
  }
  return x;
}

// By halves: lane i gets x[i] + x[i ^ width / 2] first. For floats this is the tree of fold8 and
// fold16 (kernels/arithmetic.h).
template <unsigned width, typename T>
HEARTH_DEVICE T group_sum(T x) {
  for (unsigned mask = width / 2; mask > 0; mask /= 2) x = x + shuffle_xor(x, mask);
  return x;
}

// Bytes [at, at + 4 n) as words. kAlign is what is known of the address: at 16 these are 16-byte
// loads, below 4 each word is put together from the two aligned ones that hold it.
template <unsigned n, unsigned kAlign>
HEARTH_DEVICE void load_bytes(const void* at, std::uint32_t (&words)[n]) {
  const auto* bytes = static_cast<const std::uint8_t*>(at);
  if constexpr (kAlign % 16 == 0 && n % 4 == 0) {
    for (unsigned i = 0; i < n; i += 4) {
      const Word4 four = load_16<Word4>(bytes + 4 * i);
      for (unsigned k = 0; k < 4; ++k) words[i + k] = four.word[k];
    }
  } else if constexpr (kAlign % 4 == 0) {
    for (unsigned i = 0; i < n; ++i) words[i] = load_word(bytes + 4 * i);
  } else {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes);
    const unsigned shift = static_cast<unsigned>(address % 4) * 8;
    const std::uint8_t* aligned = bytes - address % 4;
    // Where the address is aligned after all, the last word is the one before it once more.
    const std::uint8_t* last = aligned + 4 * n - (shift == 0 ? 4 : 0);
    std::uint32_t low = load_word(aligned);
    for (unsigned i = 0; i < n; ++i) {
      const std::uint32_t high = load_word(i + 1 < n ? aligned + 4 * (i + 1) : last);
      words[i] = shift_right(low, high, shift);
      low = high;
    }
  }
}

// kernels/cpu/exp.h, step by step.
HEARTH_DEVICE float exponential(float x) {
  const float shift = 0x1.8p23f;
  const float t = fma(x, 0x1.715476p0f, shift);
  const float k = t - shift;
  const float r = fma(k, 0x1.05c61p-29f, fma(k, -0x1.62e43p-1f, x));
  float p = 1.0f / 5040;
  p = fma(p, r, 1.0f / 720);
  p = fma(p, r, 1.0f / 120);
  p = fma(p, r, 1.0f / 24);
  p = fma(p, r, 1.0f / 6);
  p = fma(p, r, 1.0f / 2);
  p = fma(p, r, 1.0f);
  p = fma(p, r, 1.0f);
  p = float_of(bits_of(p) + (bits_of(t) << 23));
  if (x < -87.3f) return 0.0f;
  return x < 88.7f ? p : x + float_of(0x7f800000u);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
