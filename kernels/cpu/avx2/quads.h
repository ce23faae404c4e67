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
  Quads low_nibbles() const {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(low, mask), _mm256_and_si256(high, mask)};
  }
  Quads high_nibbles() const {
    return Quads{_mm256_srli_epi16(low, 4), _mm256_srli_epi16(high, 4)}.low_nibbles();
  }
  Quads with_fifth(Quads plane, std::uint32_t g) const {
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1u << g));
    const auto sixteen = [bit](__m256i bits) {
      const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
      return _mm256_and_si256(set, _mm256_set1_epi8(16));
    };
    return {_mm256_or_si256(low, sixteen(plane.low)), _mm256_or_si256(high, sixteen(plane.high))};
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

  template <typename Lanes, bool kSigned>
  Lanes channel(std::uint32_t i) const {
    return {channel<kSigned>(low, i), channel<kSigned>(high, i)};
  }

  template <typename Lanes>
  static Lanes from_i8(const std::uint8_t* from) {
    return signed_floats<Lanes>(load_16(from));
  }
  template <typename Lanes>
  static Lanes from_table(const std::uint8_t* from, std::uint32_t half,
                          const std::int8_t (&table)[16]) {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return signed_floats<Lanes>(_mm_shuffle_epi8(entries, nibbles(from, half)));
  }
  template <typename Lanes, bool kFifth>
  static Lanes from_nibbles(const std::uint8_t* from, std::uint32_t half, std::uint32_t fifth,
                            int offset) {
    __m128i codes = nibbles(from, half);
    if constexpr (kFifth) {
      const __m128i bit = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201u));
      const __m128i spread =
          _mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(fifth)),
                           _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
      const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(spread, bit), bit);
      codes = _mm_or_si128(codes, _mm_and_si128(set, _mm_set1_epi8(16)));
    }
    return signed_floats<Lanes>(_mm_sub_epi8(codes, _mm_set1_epi8(static_cast<char>(offset))));
  }

 private:
  template <bool kSigned>
  static __m256 channel(__m256i codes, std::uint32_t i) {
    const __m128i up = _mm_cvtsi32_si128(static_cast<int>(24 - 8 * i));
    const __m256i top = _mm256_sll_epi32(codes, up);
    return _mm256_cvtepi32_ps(kSigned ? _mm256_srai_epi32(top, 24) : _mm256_srli_epi32(top, 24));
  }
  // The 16-bit sums of two products stay in range: unsigned codes are at most 31, signed ones at
  // most 127 in magnitude, and so are those of the query.
  template <bool kSigned>
  static __m256i plus_dot(__m256i sums, __m256i codes, __m256i query) {
    if constexpr (kSigned) {
      query = _mm256_sign_epi8(query, codes);
      codes = _mm256_abs_epi8(codes);
    }
    const __m256i pairs = _mm256_maddubs_epi16(codes, query);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  template <typename Lanes>
  static Lanes signed_floats(__m128i bytes) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
  }
  static __m128i load_16(const std::uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  static __m128i nibbles(const std::uint8_t* from, std::uint32_t half) {
    const __m128i bytes = load_16(from);
    return _mm_and_si128(half == 0 ? bytes : _mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
  }
};

}  // namespace
}  // namespace hearth::kernels
