// kernels/gpu/port.h for HIP: gfx9 (64 lanes), gfx10 and up (32).
#pragma once

#include <hip/hip_runtime.h>

#include <cstdint>

#include "kernels/gpu/launch_error.h"
#include "kernels/gpu/launch_queue.h"
#include "kernels/gpu/launch_shape.h"

#define HEARTH_GPU_TARGET hip
#define HEARTH_KERNEL(threads, ...) __global__ void __launch_bounds__(threads)
#define HEARTH_ARGUMENT(Type) const Type
#define HEARTH_DEVICE static __device__ __forceinline__
#define HEARTH_SHARED(Type, name)              \
  __shared__ __align__(16) Type name##_block_; \
  Type& name = name##_block_
#define HEARTH_DYNAMIC_SHARED(Type, name)                                \
  extern __shared__ __align__(16) unsigned char hearth_dynamic_shared[]; \
  Type* name = reinterpret_cast<Type*>(hearth_dynamic_shared)
#define HEARTH_NOT_UNROLLED _Pragma("unroll 1")
#define HEARTH_TABLE static __device__ const
#define HEARTH_ASSERT(condition)        \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (false)

// v_dot4 by the names that it has had: signed on gfx9 and gfx10, with a sign for each operand
// since.
#if defined(__gfx906__) || defined(__gfx908__) || defined(__gfx90a__) || defined(__gfx940__) ||  \
    defined(__gfx941__) || defined(__gfx942__) || defined(__gfx950__) || defined(__gfx1011__) || \
    defined(__gfx1012__) || defined(__gfx1030__) || defined(__gfx1031__) ||                      \
    defined(__gfx1032__) || defined(__gfx1033__) || defined(__gfx1034__) ||                      \
    defined(__gfx1035__) || defined(__gfx1036__)
#define HEARTH_HIP_SDOT4 1
#elif defined(__GFX11__) || defined(__GFX12__) || defined(__gfx1100__) || defined(__gfx1101__) || \
    defined(__gfx1102__) || defined(__gfx1103__)
#define HEARTH_HIP_SUDOT4 1
#endif

namespace hearth::kernels::hip {

// A macro or a builtin by the version of the compiler; its pass for the host knows neither.
HEARTH_DEVICE unsigned lanes() {
#if __has_builtin(__builtin_amdgcn_wavefrontsize)
  return __builtin_amdgcn_wavefrontsize();
#elif defined(__AMDGCN_WAVEFRONT_SIZE)
  return __AMDGCN_WAVEFRONT_SIZE;
#else
  return warpSize;
#endif
}
HEARTH_DEVICE unsigned thread_index() { return threadIdx.x; }
HEARTH_DEVICE unsigned block_threads() { return blockDim.x; }
HEARTH_DEVICE unsigned block_x() { return blockIdx.x; }
HEARTH_DEVICE unsigned block_y() { return blockIdx.y; }
HEARTH_DEVICE unsigned block_z() { return blockIdx.z; }
HEARTH_DEVICE unsigned grid_x() { return gridDim.x; }

// The segment of a kernel's arguments begins with the first. A parameter that is indexed would be
// copied to the stack of each thread.
template <typename T>
HEARTH_DEVICE const T& in_place(const T&) {
  return *(const T*)__builtin_amdgcn_kernarg_segment_ptr();
}

HEARTH_DEVICE constexpr bool begins_early() { return false; }
HEARTH_DEVICE void wait_for_previous() {}

HEARTH_DEVICE void sync_threads() { __syncthreads(); }
HEARTH_DEVICE void sync_lanes() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
  __builtin_amdgcn_wave_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

template <typename T>
HEARTH_DEVICE T shuffle(T x, unsigned lane, unsigned width) {
  return __shfl(x, static_cast<int>(lane), static_cast<int>(width));
}
template <typename T>
HEARTH_DEVICE T shuffle_xor(T x, unsigned mask) {
  return __shfl_xor(x, static_cast<int>(mask));
}
HEARTH_DEVICE std::uint64_t ballot(bool p) { return __ballot(p); }
HEARTH_DEVICE bool any_lane(bool p) { return __any(p) != 0; }

HEARTH_DEVICE void require_aligned(const void*, std::size_t) {}
// The compiler does not know of an address that lies in memory that it is a global one, and would
// have a flat load look for it, for which no other load of the thread stays under way.
template <typename T>
HEARTH_DEVICE T load_global(const void* at) {
  return *(const __attribute__((address_space(1))) T*)at;
}
HEARTH_DEVICE std::uint8_t load_byte(const void* at) { return load_global<std::uint8_t>(at); }
HEARTH_DEVICE std::uint16_t load_half(const void* at) { return load_global<std::uint16_t>(at); }
HEARTH_DEVICE std::uint32_t load_word(const void* at) { return load_global<std::uint32_t>(at); }
template <typename T>
HEARTH_DEVICE T load_16(const void* at) {
  static_assert(sizeof(T) == 16);
  using Words = std::uint32_t __attribute__((ext_vector_type(4)));
  return __builtin_bit_cast(T, load_global<Words>(at));
}

HEARTH_DEVICE void prefetch(const void*) {}
HEARTH_DEVICE void after_loads() {
#if __has_builtin(__builtin_amdgcn_sched_barrier)
  __builtin_amdgcn_sched_barrier(0);
#endif
}

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
  return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
HEARTH_DEVICE void store_release_system(std::uint32_t* at, std::uint32_t x) {
  __atomic_store_n(at, x, __ATOMIC_RELEASE);
}

HEARTH_DEVICE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
HEARTH_DEVICE float divide(float a, float b) { return a / b; }
// The library's: until LLVM 18 the builtins are v_sqrt_f32 and v_sqrt_f64, which round otherwise.
HEARTH_DEVICE float square_root(float x) { return ::sqrtf(x); }
HEARTH_DEVICE double square_root(double x) { return ::sqrt(x); }
HEARTH_DEVICE int nearest_even(float x) { return static_cast<int>(__builtin_rintf(x)); }
HEARTH_DEVICE std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
HEARTH_DEVICE float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
HEARTH_DEVICE int count_ones(std::uint32_t x) { return __builtin_popcount(x); }
HEARTH_DEVICE int dot4(std::uint32_t a, std::uint32_t b, int sum) {
#if defined(HEARTH_HIP_SDOT4)
  return __builtin_amdgcn_sdot4(static_cast<int>(a), static_cast<int>(b), sum, false);
#elif defined(HEARTH_HIP_SUDOT4)
  return __builtin_amdgcn_sudot4(true, static_cast<int>(a), true, static_cast<int>(b), sum, false);
#else
  for (unsigned i = 0; i < 32; i += 8)
    sum += static_cast<std::int8_t>(a >> i) * static_cast<std::int8_t>(b >> i);
  return sum;
#endif
}
// v_perm_b32 has byte selectors and takes the upper word first.
HEARTH_DEVICE std::uint32_t byte_permute(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  const std::uint32_t pairs = (selector & 0x7777u) | (selector & 0x7700u) << 8;
  const std::uint32_t bytes = (pairs & 0x00070007u) | (pairs & 0x00700070u) << 4;
  return __builtin_amdgcn_perm(b, a, bytes);
}
// The word that starts `bits` bits (below 32) into high:low.
HEARTH_DEVICE std::uint32_t shift_right(std::uint32_t low, std::uint32_t high, unsigned bits) {
  return __builtin_amdgcn_alignbit(high, low, bits);
}
HEARTH_DEVICE float f32_of_f16(std::uint16_t bits) {
  return static_cast<float>(__builtin_bit_cast(_Float16, bits));
}
HEARTH_DEVICE std::uint16_t f16_of_f32(float x) {
  return __builtin_bit_cast(std::uint16_t, static_cast<_Float16>(x));
}

}  // namespace hearth::kernels::hip

#include "kernels/gpu/port/tiles_by_dot4.h"

namespace hearth::kernels::hip {

using by_dot4::ColumnTile;
using by_dot4::load_tile;
using by_dot4::multiply_half_tiles;
using by_dot4::multiply_tiles;
using by_dot4::RowTile;

// Throws Error(kDevice) where the launch is refused.
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, NativeStream stream,
            const Args&... args) {
  auto& queue = *static_cast<LaunchQueue*>(stream);
  kernel<<<dim3(shape.blocks_x, shape.blocks_y, shape.blocks_z), dim3(shape.threads),
           shape.dynamic_shared, static_cast<hipStream_t>(queue.stream())>>>(args...);
  if (const hipError_t error = hipGetLastError(); error != hipSuccess)
    launch_failed(hipGetErrorString(error), shape);
  queue.launched();
}

}  // namespace hearth::kernels::hip
