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
  void store_f16(std::uint16_t* to, Whole) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), as_f16());
  }
  void store_f16(std::uint16_t* to, Part part) const {
    _mm256_mask_storeu_epi16(to, mask(part), as_f16());
  }
  __m256i as_f16() const {
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  float first() const { return _mm512_cvtss_f32(v); }

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

inline F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32x16 larger(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }

inline F32x16 select_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}

inline F32x16 add_to_exponent(F32x16 x, F32x16 k) {
  const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(k.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), shifted))};
}

}  // namespace

}  // namespace hearth::kernels
