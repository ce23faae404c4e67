// What is computed for four rows at once (kernels/cpu/avx512/four_rows.h): lane k of each quarter
// is of row k.
#pragma once

#include "kernels/cpu/avx512/wide.h"
#include "kernels/cpu/matmul/rows.h"

namespace hearth::kernels {
namespace {

using FourAddresses = const std::uint8_t* const (&)[4];

// The sum of each quarter, of four vectors.
HEARTH_INLINE __m512i sum_quarters_of_rows(const __m512i (&rows)[4]) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(rows[0], rows[1]),
                                      _mm512_unpackhi_epi32(rows[0], rows[1]));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(rows[2], rows[3]),
                                      _mm512_unpackhi_epi32(rows[2], rows[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

// 16 bytes of each row, a quarter each.
HEARTH_INLINE __m512i sixteen_bytes(FourAddresses at, std::size_t offset) {
  return Wide::quarters(at[0] + offset, at[1] + offset, at[2] + offset, at[3] + offset).v;
}
HEARTH_INLINE __m512i same_quarters(__m128i quarter) { return Wide::same_quarters(quarter).v; }

// Of what sixteen_bytes() returned: the f16 that is word `word`, in all quarters.
HEARTH_INLINE __m512 f16_of_rows(__m512i bytes, short word) {
  const __m512i index =
      _mm512_add_epi16(_mm512_set1_epi64(0x0018'0010'0008'0000), _mm512_set1_epi16(word));
  return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(index, bytes)));
}
// Words of 32 bits: that of quarter q is word words[q].
HEARTH_INLINE __m512i words_of_rows(__m512i bytes, __m128i words) {
  const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i row = same_quarters(_mm_setr_epi32(0, 4, 8, 12));
  const __m512i word = _mm512_permutexvar_epi32(quarter, same_quarters(words));
  return _mm512_permutexvar_epi32(_mm512_add_epi32(row, word), bytes);
}

// Eight of 32 bits to lanes: quarter q gets number first + step × q.
HEARTH_INLINE __m512i spread(__m256i eight, int first, int step) {
  const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i index = _mm512_add_epi32(_mm512_mullo_epi32(quarter, _mm512_set1_epi32(step)),
                                         _mm512_set1_epi32(first));
  return _mm512_permutexvar_epi32(index, _mm512_castsi256_si512(eight));
}
HEARTH_INLINE __m512 spread(__m256 eight, int first, int step) {
  return _mm512_castsi512_ps(spread(_mm256_castps_si256(eight), first, step));
}

// As multiply() of rows.h, for each lane.
HEARTH_INLINE __m512 multiply(__m512i products, __m512 d, __m512 acc) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), d, acc);
}
HEARTH_INLINE __m512 less_minima(__m512i minima, __m512i sums, __m512 m, __m512 acc) {
  return _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_madd_epi16(minima, sums)), m, acc);
}

}  // namespace
}  // namespace hearth::kernels
