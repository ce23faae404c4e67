// kernels/gpu/port.h for the host: every thread of a block is a fiber, and collectives are where
// fibers take turns (kernels/gpu/emulation/block_runner.h). For tests; no product links it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/gpu/emulation/block_runner.h"
#include "kernels/gpu/emulation/queue.h"
#include "kernels/gpu/emulation/shared_memory.h"
#include "kernels/gpu/launch_shape.h"
#include "kernels/quant/half.h"

#define HEARTH_GPU_TARGET emulated
#define HEARTH_KERNEL(...) inline void
#define HEARTH_ARGUMENT(Type) const Type&
#define HEARTH_DEVICE inline
#define HEARTH_SHARED(Type, name)                                                      \
  static thread_local ::hearth::kernels::emulated::SharedMemory<Type> name##_storage_; \
  Type& name = name##_storage_.of_this_block()
#define HEARTH_DYNAMIC_SHARED(Type, name) \
  Type* name = reinterpret_cast<Type*>(::hearth::kernels::emulated::dynamic_shared_memory())
#define HEARTH_NOT_UNROLLED
#define HEARTH_TABLE inline const
#define HEARTH_ASSERT(condition)                                                                   \
  do {                                                                                             \
    if (!(condition))                                                                              \
      ::hearth::kernels::emulated::fail(__FILE__, __LINE__, "the assertion " #condition " fails"); \
  } while (false)

namespace hearth::kernels::emulated {

template <typename T>
const T& in_place(const T& argument) {
  return argument;
}

constexpr bool begins_early() { return true; }

inline void sync_threads(unsigned line = __builtin_LINE()) { wait_for_block(line); }
inline void sync_lanes(unsigned line = __builtin_LINE()) {
  exchange({Collective::kSync, 0, line}, 0);
}

// A value of 4 or 8 bytes as a word of 8, and back.
template <typename T>
std::uint64_t widened(T x) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  std::uint64_t word = 0;
  std::memcpy(&word, &x, sizeof(T));
  return word;
}
template <typename T>
T narrowed(std::uint64_t word) {
  T x;
  std::memcpy(&x, &word, sizeof(T));
  return x;
}

template <typename T>
T shuffle(T x, unsigned lane, unsigned width, unsigned line = __builtin_LINE()) {
  if (width == 0 || width > lanes() || (width & (width - 1)) != 0)
    fail(__FILE__, __LINE__, "the width of a shuffle is no power of two of the lanes");
  const unsigned self = thread_index() % lanes();
  const std::uint64_t* all = exchange({Collective::kShuffle, width, line}, widened(x));
  return narrowed<T>(all[self / width * width + lane % width]);
}
template <typename T>
T shuffle_xor(T x, unsigned mask, unsigned line = __builtin_LINE()) {
  const unsigned source = (thread_index() % lanes()) ^ mask;
  if (source >= lanes()) fail(__FILE__, __LINE__, "a shuffle reaches past the lanes of its warp");
  return narrowed<T>(exchange({Collective::kShuffleXor, mask, line}, widened(x))[source]);
}
inline std::uint64_t ballot(bool p, unsigned line = __builtin_LINE()) {
  const std::uint64_t* all = exchange({Collective::kBallot, 0, line}, p);
  std::uint64_t set = 0;
  for (unsigned lane = 0; lane < lanes(); ++lane) set |= all[lane] << lane;
  return set;
}
inline bool any_lane(bool p, unsigned line = __builtin_LINE()) { return ballot(p, line) != 0; }

inline std::uint8_t load_byte(const void* at) {
  return static_cast<std::uint8_t>(load_constant(at, 1));
}
inline std::uint16_t load_half(const void* at) {
  return static_cast<std::uint16_t>(load_constant(at, 2));
}
inline std::uint32_t load_word(const void* at) {
  return static_cast<std::uint32_t>(load_constant(at, 4));
}
template <typename T>
T load_16(const void* at) {
  static_assert(sizeof(T) == 16);
  T x;
  load_constant(at, sizeof(T), &x);
  return x;
}

// A warp that is not whole would hang where warps have 32 lanes. It orders no memory.
inline void after_loads(unsigned line = __builtin_LINE()) {
  if (lanes() == 32) exchange({Collective::kAfterLoads, 0, line}, 0);
}

template <typename T>
T atomic_exchange(T* at, T x) {
  const T old = narrowed<T>(read_atomic(at, sizeof(T)));
  write_atomic(at, widened(x), sizeof(T));
  return old;
}
template <typename T>
T atomic_add(T* at, T x) {
  return atomic_exchange(at, static_cast<T>(narrowed<T>(read_atomic(at, sizeof(T))) + x));
}

inline void fence_system() {}
inline std::uint32_t load_acquire_system(const std::uint32_t* at) { return load_flag(at); }
inline void store_release_system(std::uint32_t* at, std::uint32_t x) { store_flag(at, x); }

inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float divide(float a, float b) { return a / b; }
inline float square_root(float x) { return std::sqrt(x); }
inline double square_root(double x) { return std::sqrt(x); }
inline int nearest_even(float x) { return static_cast<int>(std::nearbyint(x)); }
inline std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline int count_ones(std::uint32_t x) { return std::popcount(x); }
inline int dot4(std::uint32_t a, std::uint32_t b, int sum) {
  for (unsigned i = 0; i < 32; i += 8)
    sum += static_cast<std::int8_t>(a >> i) * static_cast<std::int8_t>(b >> i);
  return sum;
}
inline std::uint32_t byte_permute(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  const std::uint64_t both = std::uint64_t{b} << 32 | a;
  std::uint32_t result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<std::uint32_t>(both >> (selector >> (4 * i) & 7) * 8 & 0xff) << (8 * i);
  return result;
}
// The word that starts `bits` bits (below 32) into high:low.
inline std::uint32_t shift_right(std::uint32_t low, std::uint32_t high, unsigned bits) {
  return static_cast<std::uint32_t>((std::uint64_t{high} << 32 | low) >> bits);
}

}  // namespace hearth::kernels::emulated

#include "kernels/gpu/port/tiles_by_dot4.h"

namespace hearth::kernels::emulated {

// Both forms: warps of 32 lanes have matrix units, with the layout of port/cuda.h and words that
// come from other lanes; warps of 64 have none.
struct RowTile {
  std::uint32_t words[4];
  by_dot4::RowTile whole;
};
struct ColumnTile {
  std::uint32_t words[2];
  by_dot4::ColumnTile whole;
};
template <typename WordAt>
void load_tile(WordAt word_at, RowTile& tile) {
  if (lanes() != 32) return by_dot4::load_tile(word_at, tile.whole);
  const unsigned row = thread_index() % 32 / 4, word = thread_index() % 4;
  for (unsigned i = 0; i < 4; ++i) tile.words[i] = word_at(row + i % 2 * 8, word + i / 2 * 4);
}
template <typename WordAt>
void load_tile(WordAt word_at, ColumnTile& tile) {
  if (lanes() != 32) return by_dot4::load_tile(word_at, tile.whole);
  const unsigned column = thread_index() % 32 / 4, word = thread_index() % 4;
  for (unsigned i = 0; i < 2; ++i) tile.words[i] = word_at(column, word + i * 4);
}
template <unsigned half>
void multiply_half_tiles(const RowTile& a, const ColumnTile& b, int (&sums)[4]) {
  if (lanes() != 32) return by_dot4::multiply_half_tiles<half>(a.whole, b.whole, sums);
  const unsigned row = thread_index() % 32 / 4, column = thread_index() % 4 * 2;
  by_dot4::RowTile rows{};
  by_dot4::ColumnTile columns{};
  const std::uint64_t both_rows = a.words[2 * half] | std::uint64_t{a.words[2 * half + 1]} << 32;
  const std::uint64_t* all = exchange({Collective::kMultiplyTiles, 2 * half, 0}, both_rows);
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned r = 0; r < 2; ++r)
      rows.words[r][4 * half + i] = static_cast<std::uint32_t>(all[4 * row + i] >> (32 * r));
  all = exchange({Collective::kMultiplyTiles, 2 * half + 1, 0}, b.words[half]);
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned c = 0; c < 2; ++c)
      columns.words[c][4 * half + i] = static_cast<std::uint32_t>(all[4 * (column + c) + i]);
  by_dot4::multiply_half_tiles<half>(rows, columns, sums);
}
inline void multiply_tiles(const RowTile& a, const ColumnTile& b, int (&sums)[4]) {
  multiply_half_tiles<0>(a, b, sums);
  multiply_half_tiles<1>(a, b, sums);
}

template <typename... Parameters>
struct Call {
  void (*kernel)(Parameters...);
  std::tuple<std::remove_cvref_t<Parameters>...> arguments;

  void operator()() const { std::apply(kernel, arguments); }
};

// Arguments are copied, as a launch copies them, and the queue runs the blocks now or later.
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, NativeStream stream,
            const Args&... args) {
  auto& queue = *static_cast<Queue*>(stream);
  const Launch one{shape, queue.lanes(), queue.next_seed(), reinterpret_cast<const void*>(kernel)};
  queue.enqueue([one, call = Call<Parameters...>{kernel, {args...}}] {
    Launch launch = one;
    launch.call = std::as_bytes(std::span(&call, 1));
    run_blocks(launch, call);
  });
}

}  // namespace hearth::kernels::emulated
