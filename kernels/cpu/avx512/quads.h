// kernels/cpu/scalar/quads.h with AVX-512 BW and VNNI.
#pragma once

#include "kernels/cpu/avx512/lanes.h"

namespace hearth::kernels {
namespace {

struct Quads {
  // Signed codes become unsigned ones: vpdpbusd takes no signed first operand.
  static constexpr int kSignedOffset = 128;
  using Sums = __m512i;

  __m512i v;

  static Quads load(const std::uint8_t* from) { return {_mm512_loadu_si512(from)}; }
  Quads low_nibbles() const { return {_mm512_and_si512(v, _mm512_set1_epi8(15))}; }
  Quads high_nibbles() const {
    return {_mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15))};
  }
  Quads with_fifth(Quads plane, std::uint32_t g) const {
    const __mmask64 set =
        _mm512_test_epi8_mask(plane.v, _mm512_set1_epi8(static_cast<char>(1u << g)));
    return {_mm512_mask_add_epi8(v, set, v, _mm512_set1_epi8(16))};
  }
  Quads looked_up(const std::int8_t (&table)[16]) const {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), v)};
  }

  static Sums zero() { return _mm512_setzero_si512(); }
  template <bool kSigned>
  Sums plus_dot(Sums sums, const std::int8_t* four) const {
    int query;
    __builtin_memcpy(&query, four, 4);
    const __m512i codes = kSigned ? _mm512_xor_si512(v, _mm512_set1_epi8(-128)) : v;
    return _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32(query));
  }
  template <typename Lanes>
  static Lanes as_floats(Sums sums, int above) {
    return {_mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_set1_epi32(above)))};
  }

  template <typename Lanes>
  static Lanes from_i8(const std::uint8_t* from) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(from)))};
  }
  template <typename Lanes>
  static Lanes from_table(const std::uint8_t* from, std::uint32_t half,
                          const std::int8_t (&table)[16]) {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    const __m512 values = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(entries));
    return {_mm512_permutexvar_ps(nibbles(from, half), values)};
  }
  template <typename Lanes, bool kFifth>
  static Lanes from_nibbles(const std::uint8_t* from, std::uint32_t half, std::uint32_t fifth,
                            int offset) {
    const __m512i codes = nibbles(from, half);
    const __m512 low = _mm512_permutexvar_ps(codes, sixteen_from(-offset));
    if constexpr (!kFifth) return {low};
    return {_mm512_mask_permutexvar_ps(low, static_cast<__mmask16>(fifth), codes,
                                       sixteen_from(16 - offset))};
  }

 private:
  static __m128i load_16(const std::uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  // In the low four bits of each lane, which are all that a permutation looks at.
  static __m512i nibbles(const std::uint8_t* from, std::uint32_t half) {
    const __m512i bytes = _mm512_cvtepu8_epi32(load_16(from));
    return half == 0 ? bytes : _mm512_srli_epi32(bytes, 4);
  }
  // What codes of four bits stand for: looked up, they need no conversion.
  static __m512 sixteen_from(int first) {
    const __m512i counted = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(counted, _mm512_set1_epi32(first)));
  }
};

}  // namespace
}  // namespace hearth::kernels
