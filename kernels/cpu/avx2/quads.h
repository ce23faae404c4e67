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
  using Four = __m256i;
  struct Pairs {
    __m256i even, odd;
  };
  // The first and third code of each lane as 16 bits, and the second and fourth.
  struct Words {
    __m256i low_even, low_odd, high_even, high_odd;

    Sums plus_products(Sums sums, Pairs pairs) const {
      const __m256i more_low = _mm256_add_epi32(_mm256_madd_epi16(low_even, pairs.even),
                                                _mm256_madd_epi16(low_odd, pairs.odd));
      const __m256i more_high = _mm256_add_epi32(_mm256_madd_epi16(high_even, pairs.even),
                                                 _mm256_madd_epi16(high_odd, pairs.odd));
      return {_mm256_add_epi32(sums.low, more_low), _mm256_add_epi32(sums.high, more_high)};
    }
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

  static Sums all(std::int32_t value) {
    return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)};
  }
  static Four four(const std::int8_t* from) {
    int codes;
    __builtin_memcpy(&codes, from, 4);
    return _mm256_set1_epi32(codes);
  }
  static Pairs pairs(const std::int32_t* from) {
    return {_mm256_set1_epi32(from[0]), _mm256_set1_epi32(from[8])};
  }
  template <bool kSigned>
  Sums plus_dot(Sums sums, Four four) const {
    return {plus_dot<kSigned>(sums.low, low, four), plus_dot<kSigned>(sums.high, high, four)};
  }
  template <typename Lanes>
  static Lanes as_floats(Sums sums) {
    return {_mm256_cvtepi32_ps(sums.low), _mm256_cvtepi32_ps(sums.high)};
  }

  template <bool kSigned>
  Words words(int offset) const {
    const __m256i all = _mm256_set1_epi8(static_cast<char>(offset));
    const __m256i first = _mm256_sub_epi8(low, all), second = _mm256_sub_epi8(high, all);
    return {_mm256_srai_epi16(_mm256_slli_epi16(first, 8), 8), _mm256_srai_epi16(first, 8),
            _mm256_srai_epi16(_mm256_slli_epi16(second, 8), 8), _mm256_srai_epi16(second, 8)};
  }
  template <typename Lanes>
  static void store_pairs(Lanes low, Lanes high, std::int32_t* to) {
    store_pairs(low.low, high.low, to);
    store_pairs(low.high, high.high, to + 8);
  }

  template <typename Lanes, bool kSigned>
  Lanes channel(std::uint32_t i) const {
    return {channel<kSigned>(low, i), channel<kSigned>(high, i)};
  }

 private:
  static void store_pairs(__m256 low, __m256 high, std::int32_t* to) {
    const __m256i second = _mm256_slli_epi32(_mm256_cvtps_epi32(high), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_blend_epi16(_mm256_cvtps_epi32(low), second, 0xaa));
  }
  template <bool kSigned>
  static __m256 channel(__m256i codes, std::uint32_t i) {
    const __m128i up = _mm_cvtsi32_si128(static_cast<int>(24 - 8 * i));
    const __m256i top = _mm256_sll_epi32(codes, up);
    return _mm256_cvtepi32_ps(kSigned ? _mm256_srai_epi32(top, 24) : _mm256_srli_epi32(top, 24));
  }
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

}  // namespace
}  // namespace hearth::kernels
