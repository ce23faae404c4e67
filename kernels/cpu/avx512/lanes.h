// The 16 lanes of kernels/cpu/lanes.h as one 512-bit vector (AVX-512 F and DQ).
#pragma once

// g++ 12 takes the deliberately undefined vectors in this header for mistakes (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "kernels/cpu/lanes.h"

namespace hearth::kernels {
namespace {

struct F32x16 {
  static constexpr std::uint32_t kGroup = 8;  // queries of attention in registers at once

  __m512 v;

  static __mmask16 mask(Part part) { return static_cast<__mmask16>((1u << part.count) - 1); }

  static F32x16 broadcast(float value) { return {_mm512_set1_ps(value)}; }
  static F32x16 load(const float* from, Whole) { return {_mm512_loadu_ps(from)}; }
  static F32x16 load(const float* from, Part part, float fill = 0) {
    return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask(part), from)};
  }
  static F32x16 load_f16(const std::uint16_t* from) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }

  static F32x16 load_bf16(const std::uint16_t* from) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16))};
  }

  void store(float* to, Whole) const { _mm512_storeu_ps(to, v); }
  void store(float* to, Part part) const { _mm512_mask_storeu_ps(to, mask(part), v); }

  F32x16 first_of(std::uint32_t count, F32x16 others) const {
    const auto first = static_cast<__mmask16>(count < kLanes ? (1u << count) - 1 : 0xffff);
    return {_mm512_mask_blend_ps(first, others.v, v)};
  }

  float first() const { return _mm512_cvtss_f32(v); }

  F32x16 magnitude() const { return {_mm512_abs_ps(v)}; }

  float sum() const {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float largest() const {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
};

// Rows are folded side by side, a step of sum() for two of them at once: a row becomes half of a
// vector, then a quarter. Of less than eight, some are there twice.
template <std::uint32_t n, typename Operation>
[[gnu::always_inline]] inline F32x16 fold(const F32x16 (&rows)[n], Operation operation) {
  static_assert(n <= 8);
  __m512 of[8];
  for (std::uint32_t i = 0; i < 8; ++i) of[i] = rows[i % n].v;
  for (std::uint32_t i = 0; i < 4; ++i)
    of[i] = operation(_mm512_shuffle_f32x4(of[2 * i], of[2 * i + 1], 0x44),
                      _mm512_shuffle_f32x4(of[2 * i], of[2 * i + 1], 0xee));
  for (std::uint32_t i = 0; i < 2; ++i)
    of[i] = operation(_mm512_shuffle_f32x4(of[2 * i], of[2 * i + 1], 0x88),
                      _mm512_shuffle_f32x4(of[2 * i], of[2 * i + 1], 0xdd));
  const __m512 twos =
      operation(_mm512_shuffle_ps(of[0], of[1], 0x44), _mm512_shuffle_ps(of[0], of[1], 0xee));
  const __m512 ones = operation(twos, _mm512_movehdup_ps(twos));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 4, 8, 12, 2, 6, 10, 14);
  return {_mm512_permutexvar_ps(order, ones)};
}
template <std::uint32_t n>
[[gnu::always_inline]] inline F32x16 sums_of(const F32x16 (&rows)[n]) {
  return fold(rows, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
}
template <std::uint32_t n>
[[gnu::always_inline]] inline F32x16 largest_of(const F32x16 (&rows)[n]) {
  return fold(rows, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
}

inline F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32x16 larger(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }

inline F32x16 select_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}

// Pairs of neighbouring rows, then of the pairs, then the quarters of a vector twice.
inline void transpose(F32x16 (&rows)[16]) {
  __m512 pairs[16], quads[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {
    quads[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 even_low = _mm512_shuffle_f32x4(quads[i], quads[i + 4], 0x88);
    const __m512 odd_low = _mm512_shuffle_f32x4(quads[i], quads[i + 4], 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(quads[i + 8], quads[i + 12], 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(quads[i + 8], quads[i + 12], 0xdd);
    rows[i].v = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    rows[i + 4].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    rows[i + 8].v = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    rows[i + 12].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}

inline F32x16 add_to_exponent(F32x16 x, F32x16 k) {
  const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(k.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), shifted))};
}

inline F32x16 times_power_of_two(F32x16 x, F32x16 t) {
  return {_mm512_scalef_ps(x.v, (t - F32x16::broadcast(0x1.8p23f)).v)};
}

}  // namespace

}  // namespace hearth::kernels
