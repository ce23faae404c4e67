// f32 values to the 8-bit blocks of kernels/arithmetic.h: eight threads a block, four values each.
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/gpu/quantize.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kThreadsPerActivationBlock = 8;
inline constexpr unsigned kValuesPerThread = 4;

// Blocks (row, piece of it): there may be more rows than blocks in y.
inline constexpr unsigned kPieceThreads = 256;
inline LaunchShape piece_shape(unsigned rows, unsigned columns) {
  const unsigned wanted = (columns + kValuesPerThread - 1) / kValuesPerThread;
  const unsigned threads = wanted < kPieceThreads ? (wanted + 63) / 64 * 64 : kPieceThreads;
  return {.blocks_x = rows, .blocks_y = (wanted + threads - 1) / threads, .threads = threads};
}
// The first value of this thread.
HEARTH_DEVICE std::uint32_t place_in_row() {
  return (block_y() * block_threads() + thread_index()) * kValuesPerThread;
}

struct QuantizedFour {
  std::uint32_t codes;  // of this thread's values
  float scale;          // of the block
  int sum;              // of the 16 codes of this thread and its neighbours
};

// A collective: the eight threads of a block are neighbours, in order of their values.
HEARTH_DEVICE QuantizedFour quantize_four(const float (&x)[kValuesPerThread]) {
  constexpr std::uint32_t kInfinity = 0x7f800000u;
  std::uint32_t largest = 0;
  for (const float value : x) {
    const std::uint32_t magnitude = bits_of(value) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  largest = group_max<kThreadsPerActivationBlock>(largest);

  QuantizedFour result{};
  result.scale = divide(float_of(largest), 127.0f);
  if (largest >= kInfinity) result.scale = float_of(0x7fc00000u);
  if (result.scale < 0x1p-126f) result.scale = 0;
  if (result.scale > 0) {  // neither NaN nor 0
    for (unsigned i = 0; i < kValuesPerThread; ++i) {
      const int code = nearest_even(divide(x[i], result.scale));
      result.codes |= (static_cast<std::uint32_t>(code) & 0xffu) << (8 * i);
      result.sum += code;
    }
  }
  result.sum = group_sum<16 / kValuesPerThread>(result.sum);
  return result;
}

// Writes what quantize_four gave for values [at, at + 4) of a row, and the values themselves; `at`
// lies before written_columns(to).
HEARTH_DEVICE void store_four(const QuantizeTask::Destination& to, std::uint32_t row,
                              std::uint32_t at, const float (&x)[kValuesPerThread],
                              const QuantizedFour& four) {
  const std::uint64_t first = std::uint64_t{row} * to.stride + at;
  if (to.values != nullptr)
    for (unsigned i = 0; i < kValuesPerThread; ++i)
      if (at + i < written_columns(to)) to.values[first + i] = x[i];
  if (to.codes == nullptr) return;
  *reinterpret_cast<std::uint32_t*>(to.codes + first) = four.codes;
  if (at % 16 == 0) to.sums[first / 16] = static_cast<std::int16_t>(four.sum);
  if (at % 32 == 0) to.scales[first / 32] = four.scale;
}

// Zeros past the end of the row.
HEARTH_DEVICE void load_four(const float* row, std::uint32_t at, std::uint32_t columns,
                             float (&x)[kValuesPerThread]) {
  for (unsigned i = 0; i < kValuesPerThread; ++i) x[i] = at + i < columns ? row[at + i] : 0.0f;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
