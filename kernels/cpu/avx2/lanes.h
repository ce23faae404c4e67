// The 16 lanes of kernels/cpu/lanes.h as two 256-bit vectors (AVX2, FMA, F16C).
#pragma once

#include <immintrin.h>

#include "kernels/cpu/lanes.h"

namespace hearth::kernels {
namespace {

struct F32x16 {
  static constexpr std::uint32_t kGroup = 2;  // queries of attention in registers at once

  __m256 low, high;  // lanes 0 to 7, 8 to 15

  static F32x16 broadcast(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static F32x16 load(const float* from, Whole) {
    return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
  }
  static F32x16 load(const float* from, Part part, float fill = 0) {
    float all[kLanes];
    broadcast(fill).store(all, Whole{});
    __builtin_memcpy(all, from, part.count * sizeof(float));
    return load(all, Whole{});
  }
  static F32x16 load_f16(const std::uint16_t* from) {
    const auto* const halves = reinterpret_cast<const __m128i*>(from);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
  }
  static F32x16 load_bf16(const std::uint16_t* from) {
    const auto widened = [](const std::uint16_t* eight) {
      const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(eight));
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
    };
    return {widened(from), widened(from + 8)};
  }

  void store(float* to, Whole) const {
    _mm256_storeu_ps(to, low);
    _mm256_storeu_ps(to + 8, high);
  }
  void store(float* to, Part part) const {
    float all[kLanes];
    store(all, Whole{});
    __builtin_memcpy(to, all, part.count * sizeof(float));
  }

  F32x16 first_of(std::uint32_t count, F32x16 others) const {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const auto end = static_cast<int>(count < kLanes ? count : kLanes);
    const auto before = [&](int from) {
      return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(end - from), lanes));
    };
    return {_mm256_blendv_ps(others.low, low, before(0)),
            _mm256_blendv_ps(others.high, high, before(8))};
  }

  float first() const { return _mm256_cvtss_f32(low); }

  F32x16 magnitude() const {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, low), _mm256_andnot_ps(sign, high)};
  }

  float sum() const {
    const __m256 eight = _mm256_add_ps(low, high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float largest() const {
    const __m256 eight = _mm256_max_ps(low, high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
};

template <std::uint32_t n>
F32x16 sums_of(const F32x16 (&rows)[n]) {
  float sums[kLanes] = {};
  for (std::uint32_t i = 0; i < n; ++i) sums[i] = rows[i].sum();
  return F32x16::load(sums, Whole{});
}
template <std::uint32_t n>
F32x16 largest_of(const F32x16 (&rows)[n]) {
  float largest[kLanes] = {};
  for (std::uint32_t i = 0; i < n; ++i) largest[i] = rows[i].largest();
  return F32x16::load(largest, Whole{});
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F32x16 larger(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}

inline F32x16 select_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  const __m256 low = _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ);
  const __m256 high = _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ);
  return {_mm256_blendv_ps(no.low, yes.low, low), _mm256_blendv_ps(no.high, yes.high, high)};
}

// Pairs of neighbouring rows, then of the pairs, then the halves of a vector.
inline void transpose(__m256 (&rows)[8]) {
  __m256 pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
  }
}

inline void transpose(F32x16 (&rows)[16]) {
  __m256 quarters[2][2][8];
  for (int i = 0; i < 16; ++i) {
    quarters[i / 8][0][i % 8] = rows[i].low;
    quarters[i / 8][1][i % 8] = rows[i].high;
  }
  for (auto& half : quarters)
    for (auto& quarter : half) transpose(quarter);
  for (int i = 0; i < 16; ++i) rows[i] = {quarters[0][i / 8][i % 8], quarters[1][i / 8][i % 8]};
}

inline __m256 add_to_exponent(__m256 x, __m256 k) {
  const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(k), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), shifted));
}
inline F32x16 add_to_exponent(F32x16 x, F32x16 k) {
  return {add_to_exponent(x.low, k.low), add_to_exponent(x.high, k.high)};
}

inline F32x16 times_power_of_two(F32x16 x, F32x16 t) {
  return x * add_to_exponent(F32x16::broadcast(1), t);
}

}  // namespace

}  // namespace hearth::kernels
