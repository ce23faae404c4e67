// Four rows of a format with blocks of 256 side by side. What there is one of for each block of 32
// (a sum of products, a scale, a minimum) is computed for four rows at once: lane k of quarter q is
// of row k and of block 2 q in a vector called `even`, of block 2 q + 1 in one called `odd`. Row by
// row (kernels/cpu/matmul/rows.h) unpacking the scales and adding up the lanes takes more
// instructions than the products.
#pragma once

#include "kernels/cpu/matmul/rows.h"

namespace hearth::kernels {
namespace {

// Lane k of quarter q of a vector of four rows.
struct EvenAndOdd {
  __m512i even, odd;
};

struct FourRows {
  Tile<Wide> rows[4];  // just the codes
  EvenAndOdd scales;   // int32
  EvenAndOdd minima;   // int16, twice the same
  __m512 d, m;         // the same in all quarters
};

struct FourRowsToken {
  Wide codes[4];
  EvenAndOdd sums;  // int16, two of 16 values: of blocks 2 q and 2 q + 1, in all lanes
  __m512 even_scales, odd_scales;
};

HEARTH_INLINE __m512i spread(__m256i blocks, int first) {
  const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
  return _mm512_permutexvar_epi32(_mm512_add_epi32(quarter, _mm512_set1_epi32(first)),
                                  _mm512_castsi256_si512(blocks));
}

HEARTH_INLINE FourRowsToken four_rows_token(const TokenRow& x, std::uint32_t tile) {
  TokenTile<Wide> plain;
  load<Wide, WeightFormat::kQ4_K>(x, tile, plain);
  const __m256i scales = _mm256_castps_si256(plain.scales);
  return {.codes = {plain.codes[0], plain.codes[1], plain.codes[2], plain.codes[3]},
          .sums = {spread(plain.sums, 0), spread(plain.sums, 1)},
          .even_scales = _mm512_castsi512_ps(spread(scales, 0)),
          .odd_scales = _mm512_castsi512_ps(spread(scales, 1))};
}

// The bytes 4 × `word` .. of each of four rows, whose 16 bytes are the quarters of `rows`: byte
// 2 q % 4 (even) or the next (odd) of word + q / 2, in the bytes of a lane that `kTwice` says.
template <int word, bool kTwice>
HEARTH_INLINE EvenAndOdd transposed_bytes(__m512i rows) {
  constexpr int a = word, b = word + 1;
  const __m512i words =
      _mm512_permutexvar_epi32(_mm512_setr_epi32(a, a + 4, a + 8, a + 12, a, a + 4, a + 8, a + 12,
                                                 b, b + 4, b + 8, b + 12, b, b + 4, b + 8, b + 12),
                               rows);
  // Each byte of a lane names a byte of the quarter; 0x80 gives zero.
  constexpr int kOne = kTwice ? static_cast<int>(0x80008000) : static_cast<int>(0x80808000);
  constexpr int kStep = kTwice ? 0x00010001 : 0x00000001;
  const __m512i lane = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 4, 8, 12));
  const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 2, 2, 2, 2);
  const auto pick = [&](int odd) {
    const __m512i byte = _mm512_add_epi32(_mm512_add_epi32(lane, quarter), _mm512_set1_epi32(odd));
    const __m512i pattern = _mm512_add_epi32(_mm512_mullo_epi32(byte, _mm512_set1_epi32(kStep)),
                                             _mm512_set1_epi32(kOne));
    return _mm512_shuffle_epi8(words, pattern);
  };
  return {pick(0), pick(1)};
}

// d, m and the scales and minima of six bits (kernels/quant/six_bit_scales.h): the first 16 bytes.
template <std::size_t kStride = 0>
HEARTH_INLINE void unpack_heads(const std::uint8_t* const (&at)[4], FourRows& out) {
  const __m512i heads = Wide::quarters(at[0], at[1], at[2], at[3]).v;
  const __m512i direct = _mm512_broadcast_i32x4(
      _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i upper = _mm512_broadcast_i32x4(
      _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
  const __m512i low = _mm512_and_si512(
      _mm512_srlv_epi32(_mm512_shuffle_epi8(heads, direct),
                        _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 0, 4))),
      _mm512_broadcast_i32x4(_mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f)));
  const __m512i high = _mm512_srli_epi32(_mm512_shuffle_epi8(heads, upper), 2);
  const __m512i six_bits =
      _mm512_ternarylogic_epi32(low, high, _mm512_set1_epi8(0x30), 0xf8);  // low | (high & 0x30)
  out.scales = transposed_bytes<0, false>(six_bits);
  out.minima = transposed_bytes<2, true>(six_bits);
  const __m512i word = _mm512_set1_epi64(0x0018'0010'0008'0000);  // of each row
  const auto halves = [&](int first) {
    return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(
        _mm512_add_epi16(word, _mm512_set1_epi16(static_cast<short>(first))), heads)));
  };
  out.d = halves(0);
  out.m = halves(1);
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ4_K>, const std::uint8_t* const (&at)[4],
                          FourRows& out) {
  for (int r = 0; r < 4; ++r) unpack_paired_nibbles(at[r] + 16, out.rows[r]);
  unpack_heads(at, out);
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ5_K>, const std::uint8_t* const (&at)[4],
                          FourRows& out) {
  for (int r = 0; r < 4; ++r) {
    unpack_paired_nibbles(at[r] + 48, out.rows[r]);
    add_bit_planes<4>(at[r] + 16, out.rows[r]);
  }
  unpack_heads(at, out);
}

// The sums of the quarters of four vectors.
HEARTH_INLINE __m512i sum_quarters_of_rows(const __m512i (&rows)[4]) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(rows[0], rows[1]),
                                      _mm512_unpackhi_epi32(rows[0], rows[1]));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(rows[2], rows[3]),
                                      _mm512_unpackhi_epi32(rows[2], rows[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

HEARTH_INLINE __m512i products(const FourRows& w, const FourRowsToken& x, int first) {
  __m512i sums[4];
  for (int r = 0; r < 4; ++r)
    sums[r] = _mm512_dpbusd_epi32(
        _mm512_dpbusd_epi32(_mm512_setzero_si512(), w.rows[r].codes[first].v, x.codes[first].v),
        w.rows[r].codes[first + 1].v, x.codes[first + 1].v);
  return sum_quarters_of_rows(sums);
}

// As multiply() of rows.h for each lane.
HEARTH_INLINE __m512 multiply_lanes(__m512i products, __m512i scales, __m512i minima, __m512i sums,
                                    __m512 d, __m512 m, __m512 acc) {
  acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_mullo_epi32(products, scales)), d, acc);
  return _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_madd_epi16(minima, sums)), m, acc);
}

// fold8 of kernels/arithmetic.h, of four rows.
HEARTH_INLINE __m128 fold_rows(__m512 even, __m512 odd) {
  const auto folded = [](__m512 acc) {
    const __m256 two = _mm256_add_ps(_mm512_castps512_ps256(acc), _mm512_extractf32x8_ps(acc, 1));
    return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
  };
  return _mm_add_ps(folded(even), folded(odd));
}

template <WeightFormat format, bool kOne>
void four_rows(const RowReader<format>& reader, std::uint32_t row, const Activations& x,
               std::uint32_t token, std::uint32_t tokens, float* y, std::size_t y_stride) {
  constexpr std::uint32_t kTokens = kOne ? 1 : kTokenTile;
  if constexpr (kOne) tokens = 1;
  __m512 even[kTokens], odd[kTokens];
  for (std::uint32_t t = 0; t < tokens; ++t) even[t] = odd[t] = _mm512_setzero_ps();

  const std::uint8_t* first = reader.data + row * reader.row_bytes;
  for (std::uint32_t i = 0; i < reader.tiles; ++i) {
    reader.template prefetch_after<4>(row, i);
    const std::uint8_t* const at[4] = {first, first + reader.row_bytes,
                                       first + 2 * reader.row_bytes, first + 3 * reader.row_bytes};
    first += Operand<format>::kTileBytes;
    FourRows w;
    unpack(Format<format>{}, at, w);
    for (std::uint32_t t = 0; t < tokens; ++t) {
      const FourRowsToken x_tile = four_rows_token(token_row(x, token + t), i);
      even[t] = multiply_lanes(products(w, x_tile, 0), w.scales.even, w.minima.even,
                               x_tile.sums.even, _mm512_mul_ps(w.d, x_tile.even_scales),
                               _mm512_mul_ps(w.m, x_tile.even_scales), even[t]);
      odd[t] = multiply_lanes(products(w, x_tile, 2), w.scales.odd, w.minima.odd, x_tile.sums.odd,
                              _mm512_mul_ps(w.d, x_tile.odd_scales),
                              _mm512_mul_ps(w.m, x_tile.odd_scales), odd[t]);
    }
  }
  for (std::uint32_t t = 0; t < tokens; ++t)
    _mm_storeu_ps(y + t * y_stride, fold_rows(even[t], odd[t]));
}

}  // namespace
}  // namespace hearth::kernels
