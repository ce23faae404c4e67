// Four rows of a format with a scale for each 16 values, half a block of 32 (kernels/cpu/avx512/
// four_rows.h). Codes and activations are in the order of the values here: quarter j of codes[i] is
// half 4 i + j, and so are the lanes of quarter j of what is computed of codes[i].
#pragma once

#include "kernels/cpu/avx512/row_lanes.h"

namespace hearth::kernels {
namespace {

// Lanes of quarter q are of block q in `low`, of block 4 + q in `high`.
struct SumsOfLowAndHigh {
  __m512 low, high;

  // fold8 of kernels/arithmetic.h, of four rows.
  HEARTH_INLINE __m128 folded() const {
    const __m512 four = _mm512_add_ps(low, high);
    const __m256 two = _mm256_add_ps(_mm512_castps512_ps256(four), _mm512_extractf32x8_ps(four, 1));
    return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
  }
};

template <WeightFormat format>
struct FourRowsOfHalves {
  using F = Operand<format>;
  using Sums = SumsOfLowAndHigh;
  static constexpr int kOffset = offset_of<Wide, format>();

  Wide codes[4][4];                 // by row
  __m512i scales[4];                // int32
  __m512i low_minima, high_minima;  // int16, of both halves of a block
  __m512 d, m;                      // the same in all quarters

  struct Token {
    Wide codes[4];
    __m512i offsets[4];           // int32, kOffset × the sum of the half
    __m512i low_sums, high_sums;  // int16, of both halves of a block
    __m512 low_scales, high_scales;

    HEARTH_INLINE Token(const TokenRow& x, std::uint32_t tile) {
      for (std::uint32_t i = 0; i < 4; ++i)
        codes[i] = Wide::load(x.codes + tile * kTileValues + 64 * i);
      const __m256i sums =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.sums + tile * 2 * kTileBlocks));
      if constexpr (kOffset != 0) {
        const __m512i all = Wide::from_i16(sums).times(kOffset).v;
        const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        for (int i = 0; i < 4; ++i)
          offsets[i] =
              _mm512_permutexvar_epi32(_mm512_add_epi32(quarter, _mm512_set1_epi32(4 * i)), all);
      }
      if constexpr (F::kHasMinimum) {
        low_sums = spread(sums, 0, 1);
        high_sums = spread(sums, 4, 1);
      }
      const __m256 of_blocks = _mm256_loadu_ps(x.scales + tile * kTileBlocks);
      low_scales = spread(of_blocks, 0, 1);
      high_scales = spread(of_blocks, 4, 1);
    }
  };

  HEARTH_INLINE void multiply_by(const Token& x, Sums& acc) const {
    const __m512i low = whole_blocks(scaled_products(x, 0), scaled_products(x, 1));
    const __m512i high = whole_blocks(scaled_products(x, 2), scaled_products(x, 3));
    acc.low = multiply(low, _mm512_mul_ps(d, x.low_scales), acc.low);
    acc.high = multiply(high, _mm512_mul_ps(d, x.high_scales), acc.high);
    if constexpr (F::kHasMinimum) {
      acc.low = less_minima(low_minima, x.low_sums, _mm512_mul_ps(m, x.low_scales), acc.low);
      acc.high = less_minima(high_minima, x.high_sums, _mm512_mul_ps(m, x.high_scales), acc.high);
    }
  }

 private:
  HEARTH_INLINE __m512i scaled_products(const Token& x, int i) const {
    __m512i sums[4];
    for (int r = 0; r < 4; ++r)
      sums[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes[r][i].v, x.codes[i].v);
    __m512i products = sum_quarters_of_rows(sums);
    if constexpr (kOffset != 0) products = _mm512_sub_epi32(products, x.offsets[i]);
    return _mm512_mullo_epi32(products, scales[i]);
  }
  // Halves next to each other added: those of a, then of b.
  HEARTH_INLINE static __m512i whole_blocks(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  }
};

// Sixteen signed bytes of each row to lanes.
HEARTH_INLINE void transpose_bytes(__m512i rows, __m512i (&out)[4]) {
  const __m512i shift = _mm512_setr_epi32(24, 24, 24, 24, 16, 16, 16, 16, 8, 8, 8, 8, 0, 0, 0, 0);
  for (int i = 0; i < 4; ++i)
    out[i] =
        _mm512_srai_epi32(_mm512_sllv_epi32(words_of_rows(rows, _mm_set1_epi32(i)), shift), 24);
}

// Quarters 0 and 1 (2 and 3) twice.
HEARTH_INLINE Wide twice_lower(Wide x) { return {_mm512_shuffle_i32x4(x.v, x.v, 0x44)}; }
HEARTH_INLINE Wide twice_upper(Wide x) { return {_mm512_shuffle_i32x4(x.v, x.v, 0xee)}; }

// Bits 2 j and 2 j + 1 of byte 32 h + i belong to value 128 h + 32 j + i.
HEARTH_INLINE void unpack_crumbs_in_order(const std::uint8_t* at, Wide (&codes)[4]) {
  const Wide all = Wide::load(at), mask = Wide::bytes(3);
  const Wide lower = twice_lower(all), upper = twice_upper(all);
  codes[0] = lower.moved_right<0, 0, 2, 2>() & mask;
  codes[1] = lower.moved_right<4, 4, 6, 6>() & mask;
  codes[2] = upper.moved_right<0, 0, 2, 2>() & mask;
  codes[3] = upper.moved_right<4, 4, 6, 6>() & mask;
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ2_K>, FourAddresses at,
                          FourRowsOfHalves<WeightFormat::kQ2_K>& out) {
  for (int r = 0; r < 4; ++r) unpack_crumbs_in_order(at[r] + 16, out.codes[r]);
  const __m512i nibbles = sixteen_bytes(at, 0), mask = _mm512_set1_epi8(15);
  transpose_bytes(_mm512_and_si512(nibbles, mask), out.scales);
  const __m512i minima = _mm512_and_si512(_mm512_srli_epi16(nibbles, 4), mask);
  // Bytes 2 b and 2 b + 1 for block b, to the words of its lanes.
  const auto pairs_of = [&](int word) {
    const __m512i words = words_of_rows(minima, _mm_setr_epi32(word, word, word + 1, word + 1));
    const __m512i pattern = _mm512_setr_epi32(
        static_cast<int>(0x80018000), static_cast<int>(0x80058004), static_cast<int>(0x80098008),
        static_cast<int>(0x800d800c), static_cast<int>(0x80038002), static_cast<int>(0x80078006),
        static_cast<int>(0x800b800a), static_cast<int>(0x800f800e), static_cast<int>(0x80018000),
        static_cast<int>(0x80058004), static_cast<int>(0x80098008), static_cast<int>(0x800d800c),
        static_cast<int>(0x80038002), static_cast<int>(0x80078006), static_cast<int>(0x800b800a),
        static_cast<int>(0x800f800e));
    return _mm512_shuffle_epi8(words, pattern);
  };
  out.low_minima = pairs_of(0);
  out.high_minima = pairs_of(2);
  const __m512i tails = sixteen_bytes(at, 68);
  out.d = f16_of_rows(tails, 6);
  out.m = f16_of_rows(tails, 7);
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ3_K>, FourAddresses at,
                          FourRowsOfHalves<WeightFormat::kQ3_K>& out) {
  for (int r = 0; r < 4; ++r) {
    Wide(&codes)[4] = out.codes[r];
    unpack_crumbs_in_order(at[r] + 32, codes);
    // Bit b of byte i belongs to value 32 b + i.
    const Wide bits = {
        _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[r])))};
    const Wide mask = Wide::bytes(4);
    codes[0] = codes[0].with_bits(bits.moved_right<-2, -2, -1, -1>(), mask);
    codes[1] = codes[1].with_bits(bits.moved_right<0, 0, 1, 1>(), mask);
    codes[2] = codes[2].with_bits(bits.moved_right<2, 2, 3, 3>(), mask);
    codes[3] = codes[3].with_bits(bits.moved_right<4, 4, 5, 5>(), mask);
  }
  // The last 16 bytes: two of codes, eight of nibbles, four of pairs of bits, d.
  const __m512i tails = sixteen_bytes(at, 94);
  const __m512i nibbles = _mm512_shuffle_epi8(
      tails, same_quarters(_mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9)));
  const __m512i pairs = _mm512_shuffle_epi8(
      tails,
      same_quarters(_mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13)));
  const __m512i low = _mm512_and_si512(
      _mm512_srlv_epi64(nibbles, same_quarters(_mm_set_epi64x(4, 0))), _mm512_set1_epi8(15));
  const __m512i high = _mm512_rolv_epi32(pairs, same_quarters(_mm_setr_epi32(4, 2, 0, 30)));
  const __m512i six_bits = Wide{low}.with_bits({high}, Wide::bytes(48)).v;
  transpose_bytes(_mm512_sub_epi8(six_bits, _mm512_set1_epi8(32)), out.scales);
  out.d = f16_of_rows(tails, 7);
}

HEARTH_INLINE void unpack(Format<WeightFormat::kQ6_K>, FourAddresses at,
                          FourRowsOfHalves<WeightFormat::kQ6_K>& out) {
  const Wide nibble = Wide::bytes(15), pair = Wide::bytes(48);
  for (int r = 0; r < 4; ++r) {
    Wide(&codes)[4] = out.codes[r];
    const Wide a = Wide::load(at[r]), b = Wide::load(at[r] + 64), high = Wide::load(at[r] + 128);
    const Wide lower = twice_lower(high), upper = twice_upper(high);
    codes[0] = (a & nibble).with_bits(lower.moved_right<-4, -4, -2, -2>(), pair);
    codes[1] = (a.shifted_right<4>() & nibble).with_bits(lower.moved_right<0, 0, 2, 2>(), pair);
    codes[2] = (b & nibble).with_bits(upper.moved_right<-4, -4, -2, -2>(), pair);
    codes[3] = (b.shifted_right<4>() & nibble).with_bits(upper.moved_right<0, 0, 2, 2>(), pair);
  }
  transpose_bytes(sixteen_bytes(at, 192), out.scales);
  out.d = f16_of_rows(sixteen_bytes(at, 194), 7);
}

}  // namespace
}  // namespace hearth::kernels
