// Products of the float formats with f32 activations, written once for all instruction sets over a
// vector of the 16 accumulators of kernels/arithmetic.h.
//
// A row that does not end at a multiple of 16 is completed with -0: together with the +0 that pads
// the activations, the product -0 leaves every accumulator as it is, one at -0 too.
//
// Many tokens are taken kFloatTokens at a time, all rows with each, so that their activations stay
// in the second-level cache while the rows, four at a time, stay in the first one.
#pragma once

#include "kernels/cpu/matmul/prefetch.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kFloatRows = 4;
constexpr std::uint32_t kFloatTokens = 16;

// The last values of a row, up to 16.
template <typename Word>
struct FloatRest {
  Word words[kFloatAccumulators];

  HEARTH_INLINE FloatRest(const std::uint8_t* at, std::uint32_t count) {
    constexpr Word kMinusZero = Word{1} << (8 * sizeof(Word) - 1);
    for (Word& word : words) word = kMinusZero;
    __builtin_memcpy(words, at, count * sizeof(Word));
  }
};

template <typename Floats, WeightFormat format>
HEARTH_INLINE Floats load_weights(const void* at) {
  if constexpr (format == WeightFormat::kF32) return Floats::load(static_cast<const float*>(at));
  if constexpr (format == WeightFormat::kF16) return Floats::load_f16(at);
  if constexpr (format == WeightFormat::kBF16) return Floats::load_bf16(at);
}

template <typename Floats, WeightFormat format, std::uint32_t kRows, std::uint32_t kTokens>
void float_rows(const std::uint8_t* weights, std::size_t row_bytes, std::uint32_t columns,
                const float* x, std::size_t x_stride, float* y, std::size_t y_stride) {
  using Word = std::conditional_t<format == WeightFormat::kF32, std::uint32_t, std::uint16_t>;
  Floats acc[kTokens][kRows];
  for (auto& row : acc)
    for (Floats& a : row) a = Floats::zero();

  const auto add = [&](std::uint32_t i) {
    // With more tokens the memory is not what is waited for; f32 comes as fast without.
    if constexpr (kTokens == 1 && sizeof(Word) == 2)
      prefetch<kRows * kFloatAccumulators * sizeof(Word)>(
          reinterpret_cast<std::uintptr_t>(weights) + kRows * (row_bytes + i * sizeof(Word)) +
          kBytesAhead);
    Floats w[kRows];
    for (std::uint32_t r = 0; r < kRows; ++r)
      w[r] = load_weights<Floats, format>(weights + r * row_bytes + i * sizeof(Word));
    for (std::uint32_t t = 0; t < kTokens; ++t) {
      const Floats values = Floats::load(x + t * x_stride + i);
      for (std::uint32_t r = 0; r < kRows; ++r) acc[t][r].add_product(w[r], values);
    }
  };
  const std::uint32_t whole = columns / kFloatAccumulators * kFloatAccumulators;
  for (std::uint32_t i = 0; i < whole; i += kFloatAccumulators) add(i);
  if (whole < columns) {
    for (std::uint32_t r = 0; r < kRows; ++r) {
      const FloatRest<Word> rest(weights + r * row_bytes + whole * sizeof(Word), columns - whole);
      const Floats w = load_weights<Floats, format>(rest.words);
      for (std::uint32_t t = 0; t < kTokens; ++t)
        acc[t][r].add_product(w, Floats::load(x + t * x_stride + whole));
    }
  }
  for (std::uint32_t t = 0; t < kTokens; ++t)
    for (std::uint32_t r = 0; r < kRows; ++r) y[t * y_stride + r] = fold(acc[t][r].halved());
}

// Tokens [first, last) with all rows of the range.
template <typename Floats, WeightFormat format>
void multiply_tokens(const WeightMatrix& weights, RowRange range, const Activations& x,
                     std::uint32_t first, std::uint32_t last, float* y, std::size_t y_stride) {
  constexpr std::uint32_t kTokens = Floats::kTokenTile;
  const std::size_t row_bytes =
      std::size_t{weights.columns} * sizeof(typename Codec<format>::Block);
  const auto* data = reinterpret_cast<const std::uint8_t*>(weights.data);
  const auto tokens = [&]<std::uint32_t kRows>(std::uint32_t row) {
    const std::uint8_t* at = data + row * row_bytes;
    float* out = y + (row - range.begin);
    std::uint32_t t = first;
    for (; t + kTokens <= last; t += kTokens)
      float_rows<Floats, format, kRows, kTokens>(at, row_bytes, weights.columns,
                                                 x.values + std::size_t{t} * x.stride, x.stride,
                                                 out + t * y_stride, y_stride);
    for (; t < last; ++t)
      float_rows<Floats, format, kRows, 1>(at, row_bytes, weights.columns,
                                           x.values + std::size_t{t} * x.stride, x.stride,
                                           out + t * y_stride, y_stride);
  };
  std::uint32_t row = range.begin;
  for (; row + kFloatRows <= range.end; row += kFloatRows)
    tokens.template operator()<kFloatRows>(row);
  for (; row < range.end; ++row) tokens.template operator()<1>(row);
}

template <typename Floats, WeightFormat format>
void matmul_floats(const WeightMatrix& weights, RowRange range, const Activations& x, float* y,
                   std::size_t y_stride) {
  for (std::uint32_t t = 0; t < x.rows; t += kFloatTokens) {
    const std::uint32_t last = x.rows - t < kFloatTokens ? x.rows : t + kFloatTokens;
    multiply_tokens<Floats, format>(weights, range, x, t, last, y, y_stride);
  }
}

template <typename Floats>
void fill_floats(CpuKernels& table, std::string_view origin) {
  const auto fill = [&](WeightFormat format, MatmulFn function) {
    table.matmul[static_cast<std::size_t>(format)] = function;
    table.matmul_origin[static_cast<std::size_t>(format)] = origin;
  };
  fill(WeightFormat::kF32, matmul_floats<Floats, WeightFormat::kF32>);
  fill(WeightFormat::kF16, matmul_floats<Floats, WeightFormat::kF16>);
  fill(WeightFormat::kBF16, matmul_floats<Floats, WeightFormat::kBF16>);
}

}  // namespace
}  // namespace hearth::kernels
