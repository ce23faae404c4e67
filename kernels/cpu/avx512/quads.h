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
  template <std::uint32_t shift, std::uint32_t bits>
  Quads field() const {
    if constexpr (bits == 8)
      return *this;
    else
      return {_mm512_and_si512(_mm512_srli_epi16(v, shift), _mm512_set1_epi8((1 << bits) - 1))};
  }
  template <std::uint32_t shift, std::uint32_t bits, std::uint32_t to>
  Quads with_field(Quads plane) const {
    const __m512i at_place = shift > to ? _mm512_srli_epi16(plane.v, shift > to ? shift - to : 0)
                                        : _mm512_slli_epi16(plane.v, shift > to ? 0 : to - shift);
    constexpr int kMaskedOr = 0xea;  // (a and b) or c
    return {_mm512_ternarylogic_epi32(at_place, _mm512_set1_epi8(((1 << bits) - 1) << to), v,
                                      kMaskedOr)};
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
};

struct Sixteen {
  // Codes of four bits, and of four and one, are looked up as floats: they need no conversion.
  static constexpr bool kLooksUpNibbles = true;

  __m128i v;

  template <std::uint32_t bits>
  static Sixteen load(const std::uint8_t* from, std::uint32_t half) {
    if constexpr (bits == 8) {
      return {load_16(from + 16 * half)};
    } else if constexpr (bits == 4) {
      const __m128i bytes = load_16(from);
      return {_mm_and_si128(half == 0 ? bytes : _mm_srli_epi16(bytes, 4), _mm_set1_epi8(15))};
    } else if constexpr (bits == 2) {
      const __m128i bytes = _mm_set1_epi64x(load_8(from));
      const auto shift = static_cast<long long>(4 * half);
      return {
          _mm_and_si128(_mm_srlv_epi64(bytes, _mm_set_epi64x(shift + 2, shift)), _mm_set1_epi8(3))};
    } else {
      static_assert(bits == 1);
      return {_mm_maskz_set1_epi8(set_bits(from, half), 1)};
    }
  }
  template <std::uint32_t bits, std::uint32_t to>
  Sixteen with_plane(const std::uint8_t* from, std::uint32_t half) const {
    if constexpr (bits == 1)
      return {_mm_mask_add_epi8(v, set_bits(from, half), v, _mm_set1_epi8(1 << to))};
    else
      return {_mm_or_si128(v, _mm_slli_epi16(load<bits>(from, half).v, to))};
  }
  Sixteen looked_up(const std::int8_t (&table)[16]) const {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return {_mm_shuffle_epi8(entries, v)};
  }
  Sixteen minus(int offset) const {
    return {_mm_sub_epi8(v, _mm_set1_epi8(static_cast<char>(offset)))};
  }
  template <typename Lanes>
  Lanes as_floats() const {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v))};
  }

  template <typename Lanes>
  static Lanes from_table(const std::uint8_t* from, std::uint32_t half,
                          const std::int8_t (&table)[16]) {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    const __m512 values = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(entries));
    return {_mm512_permutexvar_ps(nibbles(from, half), values)};
  }
  template <typename Lanes>
  static Lanes from_nibbles(const std::uint8_t* from, std::uint32_t half, int offset) {
    return {_mm512_permutexvar_ps(nibbles(from, half), sixteen_from(-offset))};
  }
  // With a plane of fifth bits.
  template <typename Lanes>
  static Lanes from_nibbles(const std::uint8_t* from, const std::uint8_t* fifth, std::uint32_t half,
                            int offset) {
    const __m512i codes = nibbles(from, half);
    return {_mm512_mask_permutexvar_ps(_mm512_permutexvar_ps(codes, sixteen_from(-offset)),
                                       set_bits(fifth, half), codes, sixteen_from(16 - offset))};
  }

 private:
  static __m128i load_16(const std::uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  static long long load_8(const std::uint8_t* from) {
    long long bytes;
    __builtin_memcpy(&bytes, from, 8);
    return bytes;
  }
  // In the low four bits of each lane, which are all that a permutation looks at.
  static __m512i nibbles(const std::uint8_t* from, std::uint32_t half) {
    const __m512i bytes = _mm512_cvtepu8_epi32(load_16(from));
    return half == 0 ? bytes : _mm512_srli_epi32(bytes, 4);
  }
  static __m512 sixteen_from(int first) {
    const __m512i counted = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(counted, _mm512_set1_epi32(first)));
  }
  static __mmask16 set_bits(const std::uint8_t* from, std::uint32_t half) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, from + 2 * half, 2);
    return bits;
  }
};

}  // namespace
}  // namespace hearth::kernels
