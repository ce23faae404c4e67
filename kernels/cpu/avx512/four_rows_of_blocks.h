// Four rows of a format with a scale for each block of 32 (kernels/cpu/avx512/four_rows.h). Lanes
// of quarter q are of block 2 q in a vector called `even`, of block 2 q + 1 in one called `odd`.
#pragma once

#include "kernels/cpu/avx512/row_lanes.h"

namespace hearth::kernels {
namespace {

struct EvenAndOdd {
  __m512i even, odd;
};

struct SumsOfEvenAndOdd {
  __m512 even, odd;

  // fold8 of kernels/arithmetic.h, of four rows.
  HEARTH_INLINE __m128 folded() const {
    const auto of_four_blocks = [](__m512 sums) {
      const __m256 two =
          _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
      return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
    };
    return _mm_add_ps(of_four_blocks(even), of_four_blocks(odd));
  }
};

template <WeightFormat format>
struct FourRowsOfBlocks {
  using F = Operand<format>;
  using Sums = SumsOfEvenAndOdd;
  static constexpr int kOffset = offset_of<Wide, format>();

  Tile<Wide> rows[4];  // just their codes
  EvenAndOdd scales;   // int32
  EvenAndOdd minima;   // int16, twice the same
  __m512 d, m;         // the same in all quarters

  struct Token {
    TokenTile<Wide> tile;
    EvenAndOdd sums;     // int16, of both halves of the block
    EvenAndOdd offsets;  // int32, kOffset × the sum of the block

    HEARTH_INLINE Token(const TokenRow& x, std::uint32_t index) {
      load<Wide, format>(x, index, tile);
      if constexpr (F::kHasMinimum) sums = {spread(tile.sums, 0, 2), spread(tile.sums, 1, 2)};
      if constexpr (kOffset != 0) offsets = {spread(tile.offset, 0, 2), spread(tile.offset, 1, 2)};
    }
  };

  HEARTH_INLINE void multiply_by(const Token& x, Sums& acc) const {
    const __m512 even = spread(x.tile.scales, 0, 2), odd = spread(x.tile.scales, 1, 2);
    acc.even = multiply(scaled(products(x, 0), x.offsets.even, scales.even), _mm512_mul_ps(d, even),
                        acc.even);
    acc.odd =
        multiply(scaled(products(x, 2), x.offsets.odd, scales.odd), _mm512_mul_ps(d, odd), acc.odd);
    if constexpr (F::kHasMinimum) {
      acc.even = less_minima(minima.even, x.sums.even, _mm512_mul_ps(m, even), acc.even);
      acc.odd = less_minima(minima.odd, x.sums.odd, _mm512_mul_ps(m, odd), acc.odd);
    }
  }

 private:
  // With both halves of the even (odd) blocks, whose codes are `first` and the next.
  HEARTH_INLINE __m512i products(const Token& x, int first) const {
    __m512i sums[4];
    for (int r = 0; r < 4; ++r)
      sums[r] =
          _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), rows[r].codes[first].v,
                                                  x.tile.codes[first].v),
                              rows[r].codes[first + 1].v, x.tile.codes[first + 1].v);
    return sum_quarters_of_rows(sums);
  }
  HEARTH_INLINE static __m512i scaled(__m512i products, __m512i offset, __m512i scales) {
    if constexpr (kOffset != 0) products = _mm512_sub_epi32(products, offset);
    return _mm512_mullo_epi32(products, scales);
  }
};

// Of four rows of eight bytes, words `word` and word + 1: byte 2 q (even) and 2 q + 1 (odd) to
// lanes, zeros beside it, or twice as words.
template <int word, bool kTwice>
HEARTH_INLINE EvenAndOdd transposed_bytes(__m512i rows) {
  const __m512i words = words_of_rows(rows, _mm_setr_epi32(word, word, word + 1, word + 1));
  // Each byte of a pattern names a byte of the quarter; 0x80 gives zero.
  constexpr int kStep = kTwice ? 0x00010001 : 1;
  constexpr int kZeros = static_cast<int>(kTwice ? 0x80008000 : 0x80808000);
  const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 4, 8, 12, 2, 6, 10, 14);
  const auto pattern = [&](int odd) {
    const __m512i byte = _mm512_add_epi32(first, _mm512_set1_epi32(odd));
    return _mm512_add_epi32(_mm512_mullo_epi32(byte, _mm512_set1_epi32(kStep)),
                            _mm512_set1_epi32(kZeros));
  };
  return {_mm512_shuffle_epi8(words, pattern(0)), _mm512_shuffle_epi8(words, pattern(1))};
}

// d, m and the scales and minima of six bits (kernels/quant/six_bit_scales.h): the first 16 bytes.
template <WeightFormat format>
HEARTH_INLINE void unpack_six_bits(FourAddresses at, FourRowsOfBlocks<format>& out) {
  const __m512i heads = sixteen_bytes(at, 0);
  const __m512i bytes =
      same_quarters(_mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i high_bytes =
      same_quarters(_mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
  const __m512i moved = _mm512_srlv_epi32(_mm512_shuffle_epi8(heads, bytes),
                                          same_quarters(_mm_setr_epi32(0, 0, 0, 4)));
  const __m512i low = _mm512_and_si512(
      moved, same_quarters(_mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f)));
  const __m512i high = _mm512_srli_epi32(_mm512_shuffle_epi8(heads, high_bytes), 2);
  const __m512i six_bits = Wide{low}.with_bits({high}, Wide::bytes(0x30)).v;
  out.scales = transposed_bytes<0, false>(six_bits);
  out.minima = transposed_bytes<2, true>(six_bits);
  out.d = f16_of_rows(heads, 0);
  out.m = f16_of_rows(heads, 1);
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ4_K>, FourAddresses at,
                          FourRowsOfBlocks<WeightFormat::kQ4_K>& out) {
  for (int r = 0; r < 4; ++r) unpack_paired_nibbles(at[r] + 16, out.rows[r]);
  unpack_six_bits(at, out);
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ5_K>, FourAddresses at,
                          FourRowsOfBlocks<WeightFormat::kQ5_K>& out) {
  for (int r = 0; r < 4; ++r) {
    unpack_paired_nibbles(at[r] + 48, out.rows[r]);
    add_bit_planes<4>(at[r] + 16, out.rows[r]);
  }
  unpack_six_bits(at, out);
}

// Words of the first 16 bytes: d and the upper two bits of the scales, their nibbles.
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ4_XS>, FourAddresses at,
                          FourRowsOfBlocks<WeightFormat::kIQ4_XS>& out) {
  for (int r = 0; r < 4; ++r) {
    unpack_nibbles<16>(at[r] + 8, out.rows[r]);
    look_up(kIq4Values, true, out.rows[r]);
  }
  const __m512i heads = sixteen_bytes(at, 0);
  const __m512i upper = words_of_rows(heads, _mm_setzero_si128());
  const __m512i nibbles = words_of_rows(heads, _mm_set1_epi32(1));
  const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const auto scales = [&](int odd) {
    const __m512i low = _mm512_srlv_epi32(
        nibbles, _mm512_add_epi32(_mm512_slli_epi32(quarter, 3), _mm512_set1_epi32(4 * odd)));
    const __m512i high = _mm512_srlv_epi32(
        upper, _mm512_add_epi32(_mm512_slli_epi32(quarter, 2), _mm512_set1_epi32(12 + 2 * odd)));
    const __m512i bits = Wide{_mm512_and_si512(low, _mm512_set1_epi32(15))}
                             .with_bits({high}, {_mm512_set1_epi32(48)})
                             .v;
    return _mm512_sub_epi32(bits, _mm512_set1_epi32(32));
  };
  out.scales = {scales(0), scales(1)};
  out.d = f16_of_rows(heads, 0);
}

}  // namespace
}  // namespace hearth::kernels
