// f32 activations to codes, scales and sums (kernels/arithmetic.h), a block of 32 at a time.
#pragma once

#include "kernels/cpu/matmul/tile.h"

namespace hearth::kernels {
namespace {

HEARTH_INLINE float largest_magnitude(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i eight = _mm256_max_epu32(_mm256_max_epu32(a, b), _mm256_max_epu32(c, d));
  __m128i max = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  max = _mm_max_epu32(max, _mm_shuffle_epi32(max, 0x4e));
  max = _mm_max_epu32(max, _mm_shuffle_epi32(max, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(max));
}

HEARTH_INLINE float block_scale(float amax) {
  constexpr float kSmallestNormal = 0x1p-126f;
  if (!(amax < __builtin_inff())) return __builtin_nanf("");
  const float scale = amax / 127;
  return scale < kSmallestNormal ? 0 : scale;
}

HEARTH_INLINE void quantize_block(const float* x, std::int8_t* codes, float* scale_out,
                                  std::int16_t* sums) {
  __m256 values[4];
  __m256i bits[4];
  for (int i = 0; i < 4; ++i) {
    values[i] = _mm256_loadu_ps(x + 8 * i);
    bits[i] = _mm256_and_si256(_mm256_castps_si256(values[i]), _mm256_set1_epi32(0x7fffffff));
  }
  const float scale = block_scale(largest_magnitude(bits[0], bits[1], bits[2], bits[3]));
  *scale_out = scale;

  __m256i integers[4] = {};
  if (scale > 0)  // neither NaN nor 0
    for (int i = 0; i < 4; ++i)
      integers[i] = _mm256_cvtps_epi32(_mm256_div_ps(values[i], _mm256_set1_ps(scale)));

  // Packing works within 128-bit halves; the permutation puts groups of four back in order.
  const __m256i words01 = _mm256_packs_epi32(integers[0], integers[1]);
  const __m256i words23 = _mm256_packs_epi32(integers[2], integers[3]);
  const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words01, words23),
                                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), packed);

  const __m256i one = _mm256_set1_epi16(1);
  const __m256i pairs =
      _mm256_hadd_epi32(_mm256_madd_epi16(words01, one), _mm256_madd_epi16(words23, one));
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  four = _mm_hadd_epi32(four, four);
  sums[0] = static_cast<std::int16_t>(_mm_extract_epi32(four, 0));
  sums[1] = static_cast<std::int16_t>(_mm_extract_epi32(four, 1));
}

void quantize(const float* x, std::uint32_t n, std::int8_t* codes, float* scales,
              std::int16_t* sums) {
  std::uint32_t i = 0;
  for (; i + kActivationBlock <= n; i += kActivationBlock)
    quantize_block(x + i, codes + i, scales + i / 32, sums + i / 16);
  if (i == n) return;
  float rest[kActivationBlock] = {};
  __builtin_memcpy(rest, x + i, (n - i) * sizeof(float));
  quantize_block(rest, codes + i, scales + i / 32, sums + i / 16);
}

}  // namespace
}  // namespace hearth::kernels
