// kernels/cpu/scalar/quads.h with AVX2: two 256-bit vectors of eight positions each.
#pragma once

#include "kernels/cpu/avx2/lanes.h"

namespace hearth::kernels {
namespace {

struct Quads {
  // Signed codes stay signed: plus_dot moves their sign to the query.
  static constexpr int kSignedOffset = 0;
  struct Sums {
    __m256i low, high;
  };

  __m256i low, high;

  static Quads load(const std::uint8_t* from) {
    const auto* const halves = reinterpret_cast<const __m256i*>(from);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
  }
  template <std::uint32_t shift, std::uint32_t bits>
  Quads field() const {
    if constexpr (bits == 8) {
      return *this;
    } else {
      const __m256i mask = _mm256_set1_epi8((1 << bits) - 1);
      return {_mm256_and_si256(_mm256_srli_epi16(low, shift), mask),
              _mm256_and_si256(_mm256_srli_epi16(high, shift), mask)};
    }
  }
  template <std::uint32_t shift, std::uint32_t bits, std::uint32_t to>
  Quads with_field(Quads plane) const {
    const auto moved = [](__m256i x) {
      const __m256i at_place = shift > to ? _mm256_srli_epi16(x, shift > to ? shift - to : 0)
                                          : _mm256_slli_epi16(x, shift > to ? 0 : to - shift);
      return _mm256_and_si256(at_place, _mm256_set1_epi8(((1 << bits) - 1) << to));
    };
    return {_mm256_or_si256(low, moved(plane.low)), _mm256_or_si256(high, moved(plane.high))};
  }
  Quads looked_up(const std::int8_t (&table)[16]) const {
    const __m256i entries =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    return {_mm256_shuffle_epi8(entries, low), _mm256_shuffle_epi8(entries, high)};
  }

  static Sums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  template <bool kSigned>
  Sums plus_dot(Sums sums, const std::int8_t* four) const {
    int query;
    __builtin_memcpy(&query, four, 4);
    const __m256i codes = _mm256_set1_epi32(query);
    return {plus_dot<kSigned>(sums.low, low, codes), plus_dot<kSigned>(sums.high, high, codes)};
  }
  template <typename Lanes>
  static Lanes as_floats(Sums sums, int above) {
    const __m256i offset = _mm256_set1_epi32(above);
    return {_mm256_cvtepi32_ps(_mm256_sub_epi32(sums.low, offset)),
            _mm256_cvtepi32_ps(_mm256_sub_epi32(sums.high, offset))};
  }

 private:
  // The 16-bit sums of two products stay in range: unsigned codes are at most 63, signed ones at
  // most 128 in magnitude, and those of the query at most 127.
  template <bool kSigned>
  static __m256i plus_dot(__m256i sums, __m256i codes, __m256i query) {
    if constexpr (kSigned) {
      query = _mm256_sign_epi8(query, codes);
      codes = _mm256_abs_epi8(codes);
    }
    const __m256i pairs = _mm256_maddubs_epi16(codes, query);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

struct Sixteen {
  static constexpr bool kLooksUpNibbles = false;

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
      return {_mm_and_si128(set_bits(from, half), _mm_set1_epi8(1))};
    }
  }
  template <std::uint32_t bits, std::uint32_t to>
  Sixteen with_plane(const std::uint8_t* from, std::uint32_t half) const {
    if constexpr (bits == 1)
      return {_mm_or_si128(v, _mm_and_si128(set_bits(from, half), _mm_set1_epi8(1 << to)))};
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
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v)))};
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
  // All bits of a byte where its bit of the plane is set.
  static __m128i set_bits(const std::uint8_t* from, std::uint32_t half) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, from + 2 * half, 2);
    const __m128i bit = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201u));
    const __m128i spread = _mm_shuffle_epi8(
        _mm_cvtsi32_si128(bits), _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    return _mm_cmpeq_epi8(_mm_and_si128(spread, bit), bit);
  }
};

}  // namespace
}  // namespace hearth::kernels
