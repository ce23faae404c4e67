// Rotation spreads outliers over a block before it is quantized: queries are rotated like keys,
// outputs back like values.
//
// By Hadamard matrices of `size` channels, orthonormal and their own inverse; size 1: not at all.
// - Formats with GGUF's blocks: for keys the largest power of two that divides the head size, for
//   values at most 64 (smaller was found to be better; llama.cpp pull request 21038).
// - KVarN: the channels of a slice.
// - TurboQuant: likewise, with signs before and after, D2 H D1: a Hadamard matrix alone makes of a
//   vector with structure one that is far from normal. D1 is -1 at channel c where bit c mod 64 of
//   word c / 64 is set, with words 0 and 1 of splitmix64 with seed 42; D2 with words 2 and 3.
#pragma once

#include <cstdint>

#include "kernels/cpu_kernels.h"
#include "kernels/kv/kv_format.h"

namespace hearth::kernels {

struct KvRotation {
  std::uint32_t size = 1;
  bool signs = false;
};
KvRotation kv_rotation(KvFormat format, KvPart part, std::uint32_t dim);

// The bits of D1 and D2.
struct KvSigns {
  std::uint64_t before[kKvSlice / 64], after[kKvSlice / 64];
};
KvSigns kv_signs();

// Each `size` of n values, in place.
void rotate(const CpuKernels& kernels, const KvRotation& rotation, std::uint32_t n, float* x);
void rotate_back(const CpuKernels& kernels, const KvRotation& rotation, std::uint32_t n, float* x);

}  // namespace hearth::kernels
