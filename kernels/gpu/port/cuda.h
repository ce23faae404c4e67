// kernels/gpu/port.h for CUDA, compute capability 7.5 and up.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/gpu/launch_error.h"
#include "kernels/gpu/launch_queue.h"
#include "kernels/gpu/launch_shape.h"

#define HEARTH_GPU_TARGET cuda
#define HEARTH_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define HEARTH_ARGUMENT(Type) const __grid_constant__ Type
#define HEARTH_DEVICE static __device__ __forceinline__
#define HEARTH_SHARED(Type, name)              \
  __shared__ __align__(16) Type name##_block_; \
  Type& name = name##_block_
#define HEARTH_DYNAMIC_SHARED(Type, name)                                \
  extern __shared__ __align__(16) unsigned char hearth_dynamic_shared[]; \
  Type* name = reinterpret_cast<Type*>(hearth_dynamic_shared)
#define HEARTH_NOT_UNROLLED _Pragma("unroll 1")
#define HEARTH_TABLE static __device__ const
#define HEARTH_ASSERT(condition) \
  do {                           \
    if (!(condition)) __trap();  \
  } while (false)

namespace hearth::kernels::cuda {

HEARTH_DEVICE constexpr unsigned lanes() { return 32; }
HEARTH_DEVICE unsigned thread_index() { return threadIdx.x; }
HEARTH_DEVICE unsigned block_threads() { return blockDim.x; }
HEARTH_DEVICE unsigned block_x() { return blockIdx.x; }
HEARTH_DEVICE unsigned block_y() { return blockIdx.y; }
HEARTH_DEVICE unsigned block_z() { return blockIdx.z; }
HEARTH_DEVICE unsigned grid_x() { return gridDim.x; }

template <typename T>
HEARTH_DEVICE const T& in_place(const T& argument) {
  return argument;
}

// Of what kernels are compiled for: a device may still be told to begin none early.
HEARTH_DEVICE constexpr bool begins_early() {
#if __CUDA_ARCH__ >= 900
  return true;
#else
  return false;
#endif
}
// Waits first, and only then lets the next launch begin: so no more than one waits at a time, and
// it begins when all that was read before what it waits for is out of use. Its caches can hold
// nothing that is older.
HEARTH_DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" : : : "memory");
  asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
#endif
}

HEARTH_DEVICE void sync_threads() { __syncthreads(); }
HEARTH_DEVICE void sync_lanes() { __syncwarp(); }

template <typename T>
HEARTH_DEVICE T shuffle(T x, unsigned lane, unsigned width) {
  return __shfl_sync(0xffffffffu, x, static_cast<int>(lane), static_cast<int>(width));
}
template <typename T>
HEARTH_DEVICE T shuffle_xor(T x, unsigned mask) {
  return __shfl_xor_sync(0xffffffffu, x, static_cast<int>(mask));
}
HEARTH_DEVICE std::uint64_t ballot(bool p) { return __ballot_sync(0xffffffffu, p); }
HEARTH_DEVICE bool any_lane(bool p) { return __any_sync(0xffffffffu, p) != 0; }

HEARTH_DEVICE void require_aligned(const void*, std::size_t) {}
HEARTH_DEVICE std::uint8_t load_byte(const void* at) {
  return __ldg(static_cast<const unsigned char*>(at));
}
HEARTH_DEVICE std::uint16_t load_half(const void* at) {
  return __ldg(static_cast<const unsigned short*>(at));
}
HEARTH_DEVICE std::uint32_t load_word(const void* at) {
  return __ldg(static_cast<const unsigned*>(at));
}
template <typename T>
HEARTH_DEVICE T load_16(const void* at) {
  static_assert(sizeof(T) == 16);
  const uint4 four = __ldg(static_cast<const uint4*>(at));
  return T{{four.x, four.y, four.z, four.w}};
}

HEARTH_DEVICE void prefetch(const void* at) {
  asm volatile("prefetch.global.L2 [%0];" : : "l"(at));
}
// What ptxas moves no load across.
HEARTH_DEVICE void after_loads() { __syncwarp(); }

template <typename T>
HEARTH_DEVICE T atomic_add(T* at, T x) {
  return atomicAdd(at, x);
}
template <typename T>
HEARTH_DEVICE T atomic_exchange(T* at, T x) {
  return atomicExch(at, x);
}

HEARTH_DEVICE void fence_system() { __threadfence_system(); }
HEARTH_DEVICE std::uint32_t load_acquire_system(const std::uint32_t* at) {
  std::uint32_t x;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(x) : "l"(at) : "memory");
  return x;
}
HEARTH_DEVICE void store_release_system(std::uint32_t* at, std::uint32_t x) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" : : "l"(at), "r"(x) : "memory");
}

HEARTH_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
HEARTH_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
HEARTH_DEVICE float square_root(float x) { return __fsqrt_rn(x); }
HEARTH_DEVICE double square_root(double x) { return __dsqrt_rn(x); }
HEARTH_DEVICE int nearest_even(float x) { return __float2int_rn(x); }
HEARTH_DEVICE std::uint32_t bits_of(float x) { return __float_as_uint(x); }
HEARTH_DEVICE float float_of(std::uint32_t bits) { return __uint_as_float(bits); }
HEARTH_DEVICE int count_ones(std::uint32_t x) { return __popc(x); }
HEARTH_DEVICE int dot4(std::uint32_t a, std::uint32_t b, int sum) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
}
HEARTH_DEVICE std::uint32_t byte_permute(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  return __byte_perm(a, b, selector);
}
// The word that starts `bits` bits (below 32) into high:low.
HEARTH_DEVICE std::uint32_t shift_right(std::uint32_t low, std::uint32_t high, unsigned bits) {
  return __funnelshift_r(low, high, bits);
}
// As instructions, since cuda_fp16.h would cost each source seconds.
HEARTH_DEVICE float f32_of_f16(std::uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
HEARTH_DEVICE std::uint16_t f16_of_f32(float x) {
  std::uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

// As mma.sync wants them: word r + 2 h of lane l is word l % 4 of half h of row l / 4 + 8 r, and of
// column l / 4.
struct RowTile {
  std::uint32_t words[4];
};
struct ColumnTile {
  std::uint32_t words[2];
};
template <typename WordAt>
HEARTH_DEVICE void load_tile(WordAt word_at, RowTile& tile) {
  const unsigned row = threadIdx.x % 32 / 4, word = threadIdx.x % 4;
  for (unsigned i = 0; i < 4; ++i) tile.words[i] = word_at(row + i % 2 * 8, word + i / 2 * 4);
}
template <typename WordAt>
HEARTH_DEVICE void load_tile(WordAt word_at, ColumnTile& tile) {
  const unsigned column = threadIdx.x % 32 / 4, word = threadIdx.x % 4;
  for (unsigned i = 0; i < 2; ++i) tile.words[i] = word_at(column, word + i * 4);
}
template <unsigned half>
HEARTH_DEVICE void multiply_half_tiles(const RowTile& a, const ColumnTile& b, int (&sums)[4]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a.words[2 * half]), "r"(a.words[2 * half + 1]), "r"(b.words[half]));
#else
  for (unsigned r = 0; r < 2; ++r)
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+r"(sums[2 * r]), "+r"(sums[2 * r + 1])
                 : "r"(a.words[2 * half + r]), "r"(b.words[half]));
#endif
}
HEARTH_DEVICE void multiply_tiles(const RowTile& a, const ColumnTile& b, int (&sums)[4]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
        "r"(b.words[1]));
#else
  multiply_half_tiles<0>(a, b, sums);
  multiply_half_tiles<1>(a, b, sums);
#endif
}

// Throws Error(kDevice) where the launch is refused.
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, NativeStream stream,
            const Args&... args) {
  auto& queue = *static_cast<LaunchQueue*>(stream);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  const cudaLaunchConfig_t config{
      .gridDim = dim3(shape.blocks_x, shape.blocks_y, shape.blocks_z),
      .blockDim = dim3(shape.threads),
      .dynamicSmemBytes = shape.dynamic_shared,
      .stream = static_cast<cudaStream_t>(queue.stream()),
      .attrs = &early,
      .numAttrs = queue.begins_early() ? 1u : 0u,
  };
  if (const cudaError_t error = cudaLaunchKernelEx(&config, kernel, args...);
      error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    launch_failed(cudaGetErrorString(error), shape);
  }
  queue.launched();
}

}  // namespace hearth::kernels::cuda
