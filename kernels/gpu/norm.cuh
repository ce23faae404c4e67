// CpuKernels::rms_norm in pieces: a sum of squares in 16 chains (kernels/cpu/vector_ops.h), and the
// factor that comes of it.
#pragma once

#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kNormChains = 16;

HEARTH_DEVICE float norm_factor(float squares, std::uint32_t n, float epsilon) {
  const float mean = divide(squares, static_cast<float>(n));
  return divide(1.0f, square_root(mean + epsilon));
}

HEARTH_DEVICE float normed(float x, float factor, const float* weight, std::uint32_t i) {
  const float scaled = x * factor;
  return weight != nullptr ? scaled * weight[i] : scaled;
}

// A collective of 16 neighbours, all of which get the sum over x.
HEARTH_DEVICE float sum_of_squares(const float* x, std::uint32_t n) {
  float chain = 0;
  for (std::uint32_t i = thread_index() % kNormChains; i < n; i += kNormChains)
    chain = fma(x[i], x[i], chain);
  return group_sum<kNormChains>(chain);
}

struct NormShared {
  static constexpr unsigned kTile = 8192;
  alignas(16) float tile[kTile];
  float factor;
};

// Of a row of any length whose value i is value(i), called once for each, by the whole block: from
// shared memory by the first warp while the others wait, 128 steps for 2048 values. A row that fits
// is still in the tile afterwards.
template <typename Value>
HEARTH_DEVICE float factor_of_row(std::uint32_t columns, float epsilon, NormShared& shared,
                                  Value value) {
  constexpr unsigned kTile = NormShared::kTile;
  float chain = 0;
  for (std::uint32_t begin = 0; begin < columns; begin += kTile) {
    const std::uint32_t left = columns - begin < kTile ? columns - begin : kTile;
    for (std::uint32_t i = thread_index(); i < left; i += block_threads())
      shared.tile[i] = value(begin + i);
    sync_threads();
    if (warp_index() == 0)
      for (std::uint32_t i = thread_index() % kNormChains; i < left; i += kNormChains)
        chain = fma(shared.tile[i], shared.tile[i], chain);
    sync_threads();
  }
  const float squares = group_sum<kNormChains>(chain);
  if (thread_index() == 0) shared.factor = norm_factor(squares, columns, epsilon);
  sync_threads();
  return shared.factor;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
