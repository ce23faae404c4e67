// 64 bytes of AVX-512 with VNNI.
#pragma once

// g++ 12 takes the deliberately undefined vectors in this header for mistakes (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "kernels/cpu/matmul/tile.h"

namespace hearth::kernels {
namespace {

struct Wide;

// Which of the 64 words of two Wides make a third.
struct alignas(64) WordChoice {
  std::uint16_t index[32];

  template <typename Function>
  constexpr explicit WordChoice(Function f) : index() {
    for (int i = 0; i < 32; ++i) index[i] = static_cast<std::uint16_t>(f(i));
  }
  HEARTH_INLINE Wide of(Wide a, Wide b) const;
};

struct Wide {
  // Whether the entries of all code books are gathered: defined by the source that includes this.
  static constexpr bool gathers_all();
  // Those of IQ1_M are on a Zen 5, too, where finding one of its indices takes longer than a load.
  template <WeightFormat format>
  static constexpr bool kGathers = gathers_all() || format == WeightFormat::kIQ1_M;

  // Signed codes become unsigned ones: vpdpbusd takes no signed weights.
  static constexpr int kSignedOffset = 128;
  HEARTH_INLINE Wide as_operand() const { return {_mm512_xor_si512(v, _mm512_set1_epi8(-128))}; }

  // Formats that kernels/cpu/avx512/four_rows.h multiplies.
  template <WeightFormat format>
  static constexpr bool kSideBySide =
      format == WeightFormat::kQ2_K || format == WeightFormat::kQ3_K ||
      format == WeightFormat::kQ4_K || format == WeightFormat::kQ5_K ||
      format == WeightFormat::kQ6_K || format == WeightFormat::kIQ4_XS;

  __m512i v;

  HEARTH_INLINE static Wide zero() { return {_mm512_setzero_si512()}; }
  HEARTH_INLINE static Wide bytes(char value) { return {_mm512_set1_epi8(value)}; }
  HEARTH_INLINE static Wide load(const void* at) { return {_mm512_loadu_si512(at)}; }
  HEARTH_INLINE static Wide same_quarters(__m128i x) {
    // g++ keeps a constant as 128 bits and repeats it wherever it is used, with a shuffle.
    if (__builtin_constant_p(x[0]) && __builtin_constant_p(x[1]))
      return {_mm512_setr_epi64(x[0], x[1], x[0], x[1], x[0], x[1], x[0], x[1])};
    return {_mm512_broadcast_i32x4(x)};
  }
  HEARTH_INLINE static Wide quarters(__m128i a, __m128i b, __m128i c, __m128i d) {
    const __m256i ab = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
    const __m256i cd = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);
    return {_mm512_inserti64x4(_mm512_castsi256_si512(ab), cd, 1)};
  }
  HEARTH_INLINE static Wide quarters(const std::uint8_t* a, const std::uint8_t* b,
                                     const std::uint8_t* c, const std::uint8_t* d) {
    const auto load_quarter = [](const std::uint8_t* at) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    };
    return quarters(load_quarter(a), load_quarter(b), load_quarter(c), load_quarter(d));
  }
  // Those at `first` + q × kStride. Two loads hold two quarters each, so that one permutation makes
  // of them what four loads and three insertions would: 7 to 24 % of the time of a format.
  template <int kStride>
  HEARTH_INLINE static Wide quarters_at(const std::uint8_t* first) {
    if constexpr (kStride % 2 == 0 && kStride <= 48) {
      static_assert(kStride >= 16, "the loads would end past the last quarter");
      static constexpr WordChoice kChoice([](int i) {
        const int q = i / 8, word = i % 8;
        return q < 2 ? q * kStride / 2 + word : 32 + 24 - (3 - q) * kStride / 2 + word;
      });
      return kChoice.of(load(first), load(first + 3 * kStride - 48));
    } else {
      return quarters(first, first + kStride, first + 2 * kStride, first + 3 * kStride);
    }
  }
  // The first two bytes of each of eight blocks and, in the upper half, the next two.
  template <int kStride>
  HEARTH_INLINE static __m256i heads(const std::uint8_t* at) {
    if constexpr (kStride <= 20) {  // a load holds four heads
      static constexpr WordChoice kChoice([](int i) {
        const int block = i % 8, word = i / 8 % 2;
        return block < 4 ? block * kStride / 2 + word : 32 + (block - 4) * kStride / 2 + word;
      });
      return _mm512_castsi512_si256(kChoice.of(load(at), load(at + 4 * kStride)).v);
    } else {
      static constexpr WordChoice kChoice([](int i) {
        const int block = i % 8, word = i / 8 % 2;
        return block % 2 * 32 + block / 2 * 8 + word;
      });
      const Wide even = quarters_at<2 * kStride>(at), odd = quarters_at<2 * kStride>(at + kStride);
      return _mm512_castsi512_si256(kChoice.of(even, odd).v);
    }
  }
  // The first byte of each of eight blocks of 17.
  HEARTH_INLINE static __m256i first_bytes_of_17(const std::uint8_t* at) {
    static constexpr WordChoice kChoice([](int i) { return i / 2 * 17 / 2; });
    const __m256i words = _mm512_castsi512_si256(kChoice.of(load(at), load(at + 64)).v);
    const __m256i shifted = _mm256_srlv_epi32(words, _mm256_setr_epi32(0, 8, 0, 8, 0, 8, 0, 8));
    return _mm256_and_si256(shifted, _mm256_set1_epi32(255));
  }
  HEARTH_INLINE static Wide from_i8(__m128i x) { return {_mm512_cvtepi8_epi32(x)}; }
  HEARTH_INLINE static Wide from_i16(__m256i x) { return {_mm512_cvtepi16_epi32(x)}; }
  // 32 bytes to words.
  HEARTH_INLINE static Wide words_of_bytes(const void* at) {
    return {_mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(at)))};
  }
  // Eight of 32 bytes for each quarter, twice.
  HEARTH_INLINE static Wide doubled_eights(const void* at) {
    const __m256i bytes = _mm256_loadu_si256(static_cast<const __m256i*>(at));
    return {_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3),
                                     _mm512_castsi256_si512(bytes))};
  }
  // Entries of a table, for each 64-bit (32-bit) lane of the index.
  HEARTH_INLINE static Wide gather(const std::uint64_t* table, Wide index) {
    return {_mm512_mask_i64gather_epi64(_mm512_setzero_si512(), 0xff, index.v, table, 8)};
  }
  HEARTH_INLINE static Wide gather(const std::uint32_t* table, Wide index) {
    return {_mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, index.v, table, 4)};
  }
  // f32 of f16.
  HEARTH_INLINE static Wide from_f16(__m256i x) {
    return {_mm512_castps_si512(_mm512_cvtph_ps(x))};
  }

  HEARTH_INLINE static Wide broadcast(const void* word) {
    int bits;
    __builtin_memcpy(&bits, word, sizeof(bits));
    return {_mm512_set1_epi32(bits)};
  }
  HEARTH_INLINE void store(void* at) const { _mm512_storeu_si512(at, v); }
  HEARTH_INLINE void store_as_floats(float* at) const {
    _mm512_storeu_ps(at, _mm512_cvtepi32_ps(v));
  }

  // Bytes. Shifts move bits between the bytes of a word; the caller masks.
  template <int kBits>
  HEARTH_INLINE Wide shifted_right() const {
    return {_mm512_srli_epi32(v, kBits)};
  }
  template <int kBits>
  HEARTH_INLINE Wide shifted_left() const {
    return {_mm512_slli_epi32(v, kBits)};
  }
  // Each quarter by its own number of bits, to the left where that is negative.
  template <int a, int b, int c, int d>
  HEARTH_INLINE Wide moved_right() const {
    return {
        _mm512_rorv_epi32(v, _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d))};
  }
  HEARTH_INLINE Wide with_bits(Wide from, Wide mask) const {
    return {_mm512_ternarylogic_epi32(v, from.v, mask.v, 0xf8)};  // v | (from & mask)
  }
  HEARTH_INLINE Wide lookup(Wide index) const { return {_mm512_shuffle_epi8(v, index.v)}; }
  HEARTH_INLINE Wide has(Wide bit) const {
    return {_mm512_movm_epi8(_mm512_test_epi8_mask(v, bit.v))};
  }
  // Bytes plus `value` where `bytes` has the bit.
  HEARTH_INLINE Wide plus_where(Wide bytes, Wide bit, Wide value) const {
    return {_mm512_mask_add_epi8(v, _mm512_test_epi8_mask(bytes.v, bit.v), v, value.v)};
  }
  // Bytes negated where `bytes` has the bit.
  HEARTH_INLINE Wide negated_where(Wide bytes, Wide bit) const {
    return {
        _mm512_mask_sub_epi8(v, _mm512_test_epi8_mask(bytes.v, bit.v), _mm512_setzero_si512(), v)};
  }
  HEARTH_INLINE Wide plus_bytes(Wide b) const { return {_mm512_add_epi8(v, b.v)}; }

  // 16-bit lanes.
  HEARTH_INLINE Wide times_words(Wide b) const { return {_mm512_mullo_epi16(v, b.v)}; }

  // 32-bit lanes.
  HEARTH_INLINE Wide shifted_right(Wide counts) const { return {_mm512_srlv_epi32(v, counts.v)}; }
  HEARTH_INLINE Wide times(int factor) const {
    return {_mm512_mullo_epi32(v, _mm512_set1_epi32(factor))};
  }
  HEARTH_INLINE Wide times(Wide b) const { return {_mm512_mullo_epi32(v, b.v)}; }
  HEARTH_INLINE Wide times_float(float factor) const {
    return {_mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(v), _mm512_set1_ps(factor)))};
  }
  template <bool kSigned>
  HEARTH_INLINE Wide plus_dot(Wide codes, Wide activations) const {
    return {_mm512_dpbusd_epi32(v, codes.v, activations.v)};
  }
  // Lanes 2 i and 2 i + 1 added.
  HEARTH_INLINE __m256i sum_of_pairs() const {
    return _mm512_cvtepi64_epi32(_mm512_add_epi32(v, _mm512_srli_epi64(v, 32)));
  }
  // Likewise after a product with f32 scales.
  HEARTH_INLINE __m256 sum_of_scaled_pairs(Wide scales) const {
    const __m512 products = _mm512_mul_ps(_mm512_cvtepi32_ps(v), _mm512_castsi512_ps(scales.v));
    const __m512 sums = _mm512_add_ps(products, _mm512_movehdup_ps(products));
    return _mm256_castsi256_ps(_mm512_cvtepi64_epi32(_mm512_castps_si512(sums)));
  }
};

HEARTH_INLINE Wide WordChoice::of(Wide a, Wide b) const {
  return {_mm512_permutex2var_epi16(a.v, _mm512_load_si512(index), b.v)};
}

HEARTH_INLINE Wide operator&(Wide a, Wide b) { return {_mm512_and_si512(a.v, b.v)}; }
HEARTH_INLINE Wide operator|(Wide a, Wide b) { return {_mm512_or_si512(a.v, b.v)}; }
HEARTH_INLINE Wide operator^(Wide a, Wide b) { return {_mm512_xor_si512(a.v, b.v)}; }
HEARTH_INLINE Wide operator-(Wide a, Wide b) { return {_mm512_sub_epi32(a.v, b.v)}; }

// Quarters 0 and 2 (1 and 3) of both.
HEARTH_INLINE Wide even_quarters(Wide a, Wide b) { return {_mm512_shuffle_i32x4(a.v, b.v, 0x88)}; }
HEARTH_INLINE Wide odd_quarters(Wide a, Wide b) { return {_mm512_shuffle_i32x4(a.v, b.v, 0xdd)}; }
// Quarters 0, 0, 2, 2 (1, 1, 3, 3).
HEARTH_INLINE Wide double_even_quarters(Wide a) { return {_mm512_shuffle_i32x4(a.v, a.v, 0xa0)}; }
HEARTH_INLINE Wide double_odd_quarters(Wide a) { return {_mm512_shuffle_i32x4(a.v, a.v, 0xf5)}; }
// The first (second) eight bytes of each quarter of a, then those of b.
HEARTH_INLINE Wide first_eights(Wide a, Wide b) { return {_mm512_unpacklo_epi64(a.v, b.v)}; }
HEARTH_INLINE Wide second_eights(Wide a, Wide b) { return {_mm512_unpackhi_epi64(a.v, b.v)}; }
// Quarter k of a twice, then of b twice.
template <int k>
HEARTH_INLINE Wide double_quarter(Wide a, Wide b) {
  return {_mm512_shuffle_i32x4(a.v, b.v, k * 0x55)};
}

// Per quarter the sums of lanes {0, 2} and {1, 3} of a, then of b.
HEARTH_INLINE __m512i half_sums(Wide a, Wide b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a.v, b.v), _mm512_unpackhi_epi64(a.v, b.v));
}
// The sum of each quarter: a's 0, b's 0, a's 1, b's 1, ...
HEARTH_INLINE __m256i sum_quarters(Wide a, Wide b) { return Wide{half_sums(a, b)}.sum_of_pairs(); }
// Likewise for four: quarter q holds the sums of quarter q of a, b, c, d.
HEARTH_INLINE Wide sum_quarters(Wide a, Wide b, Wide c, Wide d) {
  const __m512 ab = _mm512_castsi512_ps(half_sums(a, b));
  const __m512 cd = _mm512_castsi512_ps(half_sums(c, d));
  return {_mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(ab, cd, 0x88)),
                           _mm512_castps_si512(_mm512_shuffle_ps(ab, cd, 0xdd)))};
}

// Word i of 16 rows at `first` + r × kStride, for i = 0..3: lane r of out[i] is of row r.
template <std::size_t kStride>
HEARTH_INLINE void transpose(const std::uint8_t* first, Wide (&out)[4]) {
  __m512i x[4];  // quarter q of x[i]: row 4 q + i
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint8_t* at = first + i * kStride;
    x[i] = Wide::quarters(at, at + 4 * kStride, at + 8 * kStride, at + 12 * kStride).v;
  }
  const __m512i low01 = _mm512_unpacklo_epi32(x[0], x[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(x[2], x[3]);
  const __m512i high01 = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i high23 = _mm512_unpackhi_epi32(x[2], x[3]);
  out[0].v = _mm512_unpacklo_epi64(low01, low23);
  out[1].v = _mm512_unpackhi_epi64(low01, low23);
  out[2].v = _mm512_unpacklo_epi64(high01, high23);
  out[3].v = _mm512_unpackhi_epi64(high01, high23);
}

struct Floats {
  static constexpr std::uint32_t kTokenTile = 4;

  __m512 v;

  HEARTH_INLINE static Floats zero() { return {_mm512_setzero_ps()}; }
  HEARTH_INLINE static Floats load(const float* at) { return {_mm512_loadu_ps(at)}; }
  HEARTH_INLINE static Floats load_f16(const void* at) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(at)))};
  }
  HEARTH_INLINE static Floats load_bf16(const void* at) {
    const __m256i words = _mm256_loadu_si256(static_cast<const __m256i*>(at));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16))};
  }
  HEARTH_INLINE static Floats from(Wide integers) { return {_mm512_cvtepi32_ps(integers.v)}; }
  HEARTH_INLINE static Floats from_bits(Wide bits) { return {_mm512_castsi512_ps(bits.v)}; }
  HEARTH_INLINE static Floats broadcast(float value) { return {_mm512_set1_ps(value)}; }
  HEARTH_INLINE void store(float* at) const { _mm512_storeu_ps(at, v); }
  HEARTH_INLINE void add_product(Floats a, Floats b) { v = _mm512_fmadd_ps(a.v, b.v, v); }
  // Lanes i and i + 8 added.
  HEARTH_INLINE __m256 halved() const {
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  }
};

HEARTH_INLINE Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
HEARTH_INLINE Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }

}  // namespace
}  // namespace hearth::kernels
