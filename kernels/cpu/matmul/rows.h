// Four rows of weights at a time against a few tokens: each row is unpacked to a tile in registers
// that meets every token.
#pragma once

#include "kernels/cpu/matmul/reader.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kRowTile = 4;
constexpr std::uint32_t kTokenTile = 4;  // tokens that share the unpacking of a tile

// 256 activations in the order of a tile.
template <typename Wide>
struct TokenTile {
  Wide codes[4];
  Wide half_offset;  // kOffset × sum of 16, where the format has scales for 16
  __m256i offset;    // kOffset × sum of 32 elsewhere
  __m256i sums;
  __m256 scales;
};

template <typename Wide, WeightFormat format>
HEARTH_INLINE void load(const TokenRow& x, std::uint32_t tile, TokenTile<Wide>& out) {
  constexpr int kOffset = offset_of<Wide, format>();
  const std::int8_t* codes = x.codes + tile * kTileValues;
  const Wide a = Wide::load(codes), b = Wide::load(codes + 64);
  const Wide c = Wide::load(codes + 128), d = Wide::load(codes + 192);
  const Wide even_ab = even_quarters(a, b), even_cd = even_quarters(c, d);
  const Wide odd_ab = odd_quarters(a, b), odd_cd = odd_quarters(c, d);
  out.codes[0] = even_quarters(even_ab, even_cd);
  out.codes[1] = even_quarters(odd_ab, odd_cd);
  out.codes[2] = odd_quarters(even_ab, even_cd);
  out.codes[3] = odd_quarters(odd_ab, odd_cd);
  out.sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.sums + tile * 2 * kTileBlocks));
  out.scales = _mm256_loadu_ps(x.scales + tile * kTileBlocks);
  if constexpr (kOffset != 0 && Operand<format>::kHalfScales)
    out.half_offset = Wide::from_i16(out.sums).times(kOffset);
  else if constexpr (kOffset != 0)
    out.offset = _mm256_madd_epi16(out.sums, _mm256_set1_epi16(kOffset));
}

// The integers I of kernels/arithmetic.h for the eight blocks, converted.
template <WeightFormat format, typename Wide>
HEARTH_INLINE __m256 block_products(const Tile<Wide>& w, const TokenTile<Wide>& x) {
  using F = Operand<format>;
  constexpr int kOffset = offset_of<Wide, format>();
  const auto dot = [&](int i, Wide sum) {
    return sum.template plus_dot<F::kSigned>(w.codes[i], x.codes[i]);
  };
  if constexpr (F::kHalfScales) {
    Wide sums = sum_quarters(dot(0, Wide::zero()), dot(1, Wide::zero()), dot(2, Wide::zero()),
                             dot(3, Wide::zero()));
    if constexpr (kOffset != 0) sums = sums - x.half_offset;
    if constexpr (F::kLargeScales) return sums.sum_of_scaled_pairs(w.half_scales);
    return _mm256_cvtepi32_ps(sums.times(w.half_scales).sum_of_pairs());
  } else {
    __m256i sums = sum_quarters(dot(1, dot(0, Wide::zero())), dot(3, dot(2, Wide::zero())));
    if constexpr (kOffset != 0) sums = _mm256_sub_epi32(sums, x.offset);
    if constexpr (F::kHasScales) sums = _mm256_mullo_epi32(sums, w.scales);
    return _mm256_cvtepi32_ps(sums);
  }
}

template <WeightFormat format, typename Wide>
HEARTH_INLINE __m256 multiply(const Tile<Wide>& w, const TokenTile<Wide>& x, __m256 acc) {
  acc = _mm256_fmadd_ps(block_products<format>(w, x), _mm256_mul_ps(w.d, x.scales), acc);
  if constexpr (Operand<format>::kHasMinimum) {
    const __m256 minimum = _mm256_cvtepi32_ps(_mm256_madd_epi16(w.minima, x.sums));
    acc = _mm256_fmadd_ps(minimum, _mm256_mul_ps(w.m, x.scales), acc);
  }
  return acc;
}

// kRows rows of weights from `row` on, with one token (kOne) or up to kTokenTile from `token` on.
template <typename Wide, WeightFormat format, std::uint32_t kRows, bool kOne>
void rows(const RowReader<format>& reader, std::uint32_t row, const Activations& x,
          std::uint32_t token, std::uint32_t tokens, float* y, std::size_t y_stride) {
  if constexpr (kRows == kRowTile && Wide::template kSideBySide<format>)
    return four_rows<format, kOne>(reader, row, x, token, tokens, y, y_stride);
  constexpr std::uint32_t kTokens = kOne ? 1 : kTokenTile;
  if constexpr (kOne) tokens = 1;
  __m256 acc[kTokens][kRows];
  for (std::uint32_t t = 0; t < tokens; ++t)
    for (std::uint32_t r = 0; r < kRows; ++r) acc[t][r] = _mm256_setzero_ps();

  // Completed before the loop: without a copy inside it, a tile of one token stays in registers.
  std::uint8_t rest[kRows][Operand<format>::kTileBytes];
  for (std::uint32_t r = 0; r < kRows; ++r) reader.copy_rest(row + r, rest[r]);

  for (std::uint32_t i = 0; i < reader.tiles; ++i) {
    reader.template prefetch_after<kRows>(row, i);
    const bool whole = reader.is_whole(i);
    const std::uint8_t* at = whole ? reader.tile(row, i) : rest[0];
    const std::size_t distance = whole ? reader.row_bytes : sizeof(rest[0]);
    if constexpr (kOne) {
      TokenTile<Wide> x_tile;
      load<Wide, format>(token_row(x, token), i, x_tile);
      for (std::uint32_t r = 0; r < kRows; ++r) {
        Tile<Wide> tile;
        unpack(Format<format>{}, at + r * distance, tile);
        acc[0][r] = multiply<format>(tile, x_tile, acc[0][r]);
      }
    } else {
      Tile<Wide> tiles[kRows];
      for (std::uint32_t r = 0; r < kRows; ++r)
        unpack(Format<format>{}, at + r * distance, tiles[r]);
      for (std::uint32_t t = 0; t < tokens; ++t) {
        TokenTile<Wide> x_tile;
        load<Wide, format>(token_row(x, token + t), i, x_tile);
        for (std::uint32_t r = 0; r < kRows; ++r)
          acc[t][r] = multiply<format>(tiles[r], x_tile, acc[t][r]);
      }
    }
  }
  for (std::uint32_t t = 0; t < tokens; ++t)
    for (std::uint32_t r = 0; r < kRows; ++r) y[t * y_stride + r] = fold(acc[t][r]);
}

template <typename Wide, WeightFormat format, std::uint32_t kRows>
void few_tokens(const RowReader<format>& reader, std::uint32_t row, const Activations& x, float* y,
                std::size_t y_stride) {
  for (std::uint32_t t = 0; t < x.rows; t += kTokenTile) {
    const std::uint32_t tokens = x.rows - t < kTokenTile ? x.rows - t : kTokenTile;
    if (tokens == 1)
      rows<Wide, format, kRows, true>(reader, row, x, t, 1, y + t * y_stride, y_stride);
    else
      rows<Wide, format, kRows, false>(reader, row, x, t, tokens, y + t * y_stride, y_stride);
  }
}

}  // namespace
}  // namespace hearth::kernels
