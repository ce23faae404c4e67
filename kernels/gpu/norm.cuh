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

// Adds the squares of every 16th of n values. Their loads wait for the chain no more than they
// must.
HEARTH_DEVICE float add_squares(const float* x, std::uint32_t n, float chain) {
  constexpr unsigned kTogether = 16;
  std::uint32_t i = thread_index() % kNormChains;
  for (; i + (kTogether - 1) * kNormChains < n; i += kTogether * kNormChains) {
    float values[kTogether];
    for (unsigned k = 0; k < kTogether; ++k) values[k] = x[i + k * kNormChains];
    for (unsigned k = 0; k < kTogether; ++k) chain = fma(values[k], values[k], chain);
  }
  for (; i < n; i += kNormChains) chain = fma(x[i], x[i], chain);
  return chain;
}

// A collective of 16 neighbours, all of which get the sum over x.
HEARTH_DEVICE float sum_of_squares(const float* x, std::uint32_t n) {
  return group_sum<kNormChains>(add_squares(x, n, 0));
}

struct NormShared {
  static constexpr unsigned kTile = 8192;
  alignas(16) float tile[kTile];
  float factor;
};

// Columns of a row that a thread has under way together; for those beyond its end the last one,
// which is another thread's: of what threads write it is not read.
template <unsigned n>
struct RowColumns {
  std::uint32_t at[n];
  bool present[n];
};

// Column c of a row in which threads write their own: where there is one.
template <unsigned n>
HEARTH_DEVICE float own_value(const float* row, const RowColumns<n>& columns, unsigned c) {
  return columns.present[c] ? row[columns.at[c]] : 0.0f;
}

// Those of this thread, of n × block_threads() from `begin` on.
template <unsigned n>
HEARTH_DEVICE RowColumns<n> columns_of_thread(std::uint32_t begin, std::uint32_t end) {
  RowColumns<n> columns;
  for (unsigned c = 0; c < n; ++c) {
    const std::uint32_t at = begin + c * block_threads() + thread_index();
    columns.present[c] = at < end;
    columns.at[c] = at < end ? at : end - 1;
  }
  return columns;
}

// Of a row of any length. values(columns, x) makes those of n columns at a time, once each, in all
// threads of the block together; the sum is made from shared memory by the first warp while the
// others wait, 128 steps for 2048 values. A row that fits is still in the tile afterwards.
template <unsigned n, typename Values>
HEARTH_DEVICE float factor_of_row(std::uint32_t columns, float epsilon, NormShared& shared,
                                  Values values) {
  constexpr unsigned kTile = NormShared::kTile;
  float chain = 0;
  for (std::uint32_t begin = 0; begin < columns; begin += kTile) {
    const std::uint32_t left = columns - begin < kTile ? columns - begin : kTile;
    for (std::uint32_t first = 0; first < left; first += n * block_threads()) {
      const RowColumns<n> own = columns_of_thread<n>(begin + first, begin + left);
      float x[n];
      values(own, x);
      for (unsigned c = 0; c < n; ++c)
        if (own.present[c]) shared.tile[own.at[c] - begin] = x[c];
    }
    sync_threads();
    if (warp_index() == 0) chain = add_squares(shared.tile, left, chain);
    sync_threads();
  }
  const float squares = group_sum<kNormChains>(chain);
  if (thread_index() == 0) shared.factor = norm_factor(squares, columns, epsilon);
  sync_threads();
  return shared.factor;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
