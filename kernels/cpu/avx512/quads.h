// kernels/cpu/scalar/quads.h with AVX-512 BW and VNNI.
#pragma once

#include "kernels/cpu/avx512/lanes.h"

namespace hearth::kernels {
namespace {

struct Quads {
  // Signed codes become unsigned ones: vpdpbusd takes no signed first operand.
  static constexpr int kSignedOffset = 128;
  using Sums = __m512i;
  using Four = __m512i;
  struct Pairs {
    __m512i even, odd;
  };
  // The first and third code of each lane as 16 bits, and the second and fourth.
  struct Words {
    __m512i even, odd;

    Sums plus_products(Sums sums, Pairs pairs) const {
      return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sums, even, pairs.even), odd, pairs.odd);
    }
  };

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

  static Sums all(std::int32_t value) { return _mm512_set1_epi32(value); }
  static Four four(const std::int8_t* from) { return everywhere(from); }
  template <bool kSigned>
  Sums plus_dot(Sums sums, Four four) const {
    const __m512i codes = kSigned ? _mm512_xor_si512(v, _mm512_set1_epi8(-128)) : v;
    return _mm512_dpbusd_epi32(sums, codes, four);
  }
  template <typename Lanes>
  static Lanes as_floats(Sums sums) {
    return {_mm512_cvtepi32_ps(sums)};
  }

  template <bool kSigned>
  Words words(int offset) const {
    if (!kSigned && offset == 0)
      return {_mm512_and_si512(v, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(v, 8)};
    const __m512i codes = _mm512_sub_epi8(v, _mm512_set1_epi8(static_cast<char>(offset)));
    return {_mm512_srai_epi16(_mm512_slli_epi16(codes, 8), 8), _mm512_srai_epi16(codes, 8)};
  }
  static Pairs pairs(const std::int32_t* from) { return {everywhere(from), everywhere(from + 8)}; }
  template <typename Lanes>
  static void store_pairs(Lanes low, Lanes high, std::int32_t* to) {
    constexpr __mmask64 kSecond = 0xcccccccccccccccc;  // bytes of the upper halves
    const __m512i lower_half =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13));
    _mm512_storeu_si512(to, _mm512_mask_shuffle_epi8(_mm512_cvtps_epi32(low.v), kSecond,
                                                     _mm512_cvtps_epi32(high.v), lower_half));
  }

  template <typename Lanes, bool kSigned>
  Lanes channel(std::uint32_t i) const {
    const __m512i top = _mm512_sll_epi32(v, _mm_cvtsi32_si128(static_cast<int>(24 - 8 * i)));
    return {_mm512_cvtepi32_ps(kSigned ? _mm512_srai_epi32(top, 24) : _mm512_srli_epi32(top, 24))};
  }

 private:
  // Four bytes in all lanes. Written as the instruction it is: of an intrinsic, g++ takes what all
  // blocks are multiplied with out of the loops, to more vectors than there are registers.
  static __m512i everywhere(const void* from) {
    using Bytes = const std::int8_t(*)[4];
    __m512i lanes;
    asm("vpbroadcastd %1, %0" : "=v"(lanes) : "m"(*static_cast<Bytes>(from)));
    return lanes;
  }
};

}  // namespace
}  // namespace hearth::kernels
