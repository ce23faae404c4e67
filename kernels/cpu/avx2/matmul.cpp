// Products with AVX2: a Wide is two 256-bit vectors.
#include <immintrin.h>

#include "kernels/cpu/fill.h"
#include "kernels/cpu/matmul/tile.h"

namespace hearth::kernels {
namespace {

struct Wide {
  template <WeightFormat format>
  static constexpr bool kGathers = false;

  // Signed codes stay signed: plus_dot moves their sign to the activations.
  static constexpr int kSignedOffset = 0;
  HEARTH_INLINE Wide as_operand() const { return *this; }

  template <WeightFormat format>
  static constexpr bool kSideBySide = false;

  __m256i low, high;

  HEARTH_INLINE static Wide same(__m256i half) { return {half, half}; }
  HEARTH_INLINE static Wide zero() { return same(_mm256_setzero_si256()); }
  HEARTH_INLINE static Wide bytes(char value) { return same(_mm256_set1_epi8(value)); }
  HEARTH_INLINE static Wide load(const void* at) {
    const auto* halves = static_cast<const __m256i*>(at);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
  }
  HEARTH_INLINE static Wide same_quarters(__m128i x) {
    return same(_mm256_broadcastsi128_si256(x));
  }
  HEARTH_INLINE static Wide quarters(__m128i a, __m128i b, __m128i c, __m128i d) {
    return {_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1),
            _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1)};
  }
  HEARTH_INLINE static Wide quarters(const std::uint8_t* a, const std::uint8_t* b,
                                     const std::uint8_t* c, const std::uint8_t* d) {
    const auto load_quarter = [](const std::uint8_t* at) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    };
    return quarters(load_quarter(a), load_quarter(b), load_quarter(c), load_quarter(d));
  }
  // Those at `first` + q × kStride.
  template <int kStride>
  HEARTH_INLINE static Wide quarters_at(const std::uint8_t* first) {
    return quarters(first, first + kStride, first + 2 * kStride, first + 3 * kStride);
  }
  // The first two bytes of each of eight blocks and, in the upper half, the next two.
  template <int kStride>
  HEARTH_INLINE static __m256i heads(const std::uint8_t* at) {
    const auto of_four = [](const std::uint8_t* first) {
      const __m128i ab = _mm_unpacklo_epi16(_mm_loadu_si32(first), _mm_loadu_si32(first + kStride));
      const __m128i cd = _mm_unpacklo_epi16(_mm_loadu_si32(first + 2 * kStride),
                                            _mm_loadu_si32(first + 3 * kStride));
      return _mm_unpacklo_epi32(ab, cd);
    };
    const __m128i first = of_four(at), second = of_four(at + 4 * kStride);
    return _mm256_setr_m128i(_mm_unpacklo_epi64(first, second), _mm_unpackhi_epi64(first, second));
  }
  // The first byte of each of eight blocks of 17.
  HEARTH_INLINE static __m256i first_bytes_of_17(const std::uint8_t* at) {
    const __m256i words = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(heads<17>(at)));
    return _mm256_and_si256(words, _mm256_set1_epi32(255));
  }
  HEARTH_INLINE static Wide from_i8(__m128i x) {
    return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(x, x))};
  }
  HEARTH_INLINE static Wide from_i16(__m256i x) {
    return {_mm256_cvtepi16_epi32(_mm256_castsi256_si128(x)),
            _mm256_cvtepi16_epi32(_mm256_extracti128_si256(x, 1))};
  }
  // Eight of 32 bytes for each quarter, twice.
  HEARTH_INLINE static Wide doubled_eights(const void* at) {
    const __m256i bytes = _mm256_loadu_si256(static_cast<const __m256i*>(at));
    return {_mm256_permute4x64_epi64(bytes, 0x50), _mm256_permute4x64_epi64(bytes, 0xfa)};
  }
  // f32 of f16.
  HEARTH_INLINE static Wide from_f16(__m256i x) {
    return {_mm256_castps_si256(_mm256_cvtph_ps(_mm256_castsi256_si128(x))),
            _mm256_castps_si256(_mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)))};
  }

  HEARTH_INLINE static Wide broadcast(const void* word) {
    int bits;
    __builtin_memcpy(&bits, word, sizeof(bits));
    return same(_mm256_set1_epi32(bits));
  }
  HEARTH_INLINE void store(void* at) const {
    auto* halves = static_cast<__m256i*>(at);
    _mm256_storeu_si256(halves, low);
    _mm256_storeu_si256(halves + 1, high);
  }
  HEARTH_INLINE void store_as_floats(float* at) const {
    _mm256_storeu_ps(at, _mm256_cvtepi32_ps(low));
    _mm256_storeu_ps(at + 8, _mm256_cvtepi32_ps(high));
  }

  // Bytes. Shifts move bits between the bytes of a word; the caller masks.
  template <int kBits>
  HEARTH_INLINE Wide shifted_right() const {
    return {_mm256_srli_epi32(low, kBits), _mm256_srli_epi32(high, kBits)};
  }
  template <int kBits>
  HEARTH_INLINE Wide shifted_left() const {
    return {_mm256_slli_epi32(low, kBits), _mm256_slli_epi32(high, kBits)};
  }
  // Each quarter by its own number of bits, to the left where that is negative.
  template <int a, int b, int c, int d>
  HEARTH_INLINE Wide moved_right() const {
    return {moved_right<a, b>(low), moved_right<c, d>(high)};
  }
  HEARTH_INLINE Wide with_bits(Wide from, Wide mask) const;
  HEARTH_INLINE Wide lookup(Wide index) const {
    return {_mm256_shuffle_epi8(low, index.low), _mm256_shuffle_epi8(high, index.high)};
  }
  HEARTH_INLINE Wide has(Wide bit) const {
    return {_mm256_cmpeq_epi8(_mm256_and_si256(low, bit.low), bit.low),
            _mm256_cmpeq_epi8(_mm256_and_si256(high, bit.high), bit.high)};
  }
  // Bytes plus `value` where `bytes` has the bit.
  HEARTH_INLINE Wide plus_where(Wide bytes, Wide bit, Wide value) const;
  // Bytes negated where `bytes` has the bit.
  HEARTH_INLINE Wide negated_where(Wide bytes, Wide bit) const {
    const Wide negative = bytes.has(bit);
    return {_mm256_sub_epi8(_mm256_xor_si256(low, negative.low), negative.low),
            _mm256_sub_epi8(_mm256_xor_si256(high, negative.high), negative.high)};
  }
  HEARTH_INLINE Wide plus_bytes(Wide b) const {
    return {_mm256_add_epi8(low, b.low), _mm256_add_epi8(high, b.high)};
  }

  // 32-bit lanes.
  HEARTH_INLINE Wide times(int factor) const { return times(same(_mm256_set1_epi32(factor))); }
  HEARTH_INLINE Wide times(Wide b) const {
    return {_mm256_mullo_epi32(low, b.low), _mm256_mullo_epi32(high, b.high)};
  }
  HEARTH_INLINE Wide times_float(float factor) const {
    const __m256 factors = _mm256_set1_ps(factor);
    return {_mm256_castps_si256(_mm256_mul_ps(_mm256_castsi256_ps(low), factors)),
            _mm256_castps_si256(_mm256_mul_ps(_mm256_castsi256_ps(high), factors))};
  }
  template <bool kSigned>
  HEARTH_INLINE Wide plus_dot(Wide codes, Wide activations) const {
    return {plus_dot<kSigned>(low, codes.low, activations.low),
            plus_dot<kSigned>(high, codes.high, activations.high)};
  }
  // Lanes 2 i and 2 i + 1 added.
  HEARTH_INLINE __m256i sum_of_pairs() const {
    const __m256i sums = _mm256_hadd_epi32(low, high);
    return _mm256_permute4x64_epi64(sums, 0xd8);
  }
  // Likewise after a product with f32 scales.
  HEARTH_INLINE __m256 sum_of_scaled_pairs(Wide scales) const {
    const auto products = [](__m256i x, __m256i y) {
      return _mm256_mul_ps(_mm256_cvtepi32_ps(x), _mm256_castsi256_ps(y));
    };
    const __m256 sums = _mm256_hadd_ps(products(low, scales.low), products(high, scales.high));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(sums), 0xd8));
  }

 private:
  template <int a, int b>
  HEARTH_INLINE static __m256i moved_right(__m256i x) {
    const auto shifts = [](int first, int second) {
      return _mm256_setr_epi32(first, first, first, first, second, second, second, second);
    };
    if constexpr (a >= 0 && b >= 0)
      return _mm256_srlv_epi32(x, shifts(a, b));
    else if constexpr (a <= 0 && b <= 0)
      return _mm256_sllv_epi32(x, shifts(-a, -b));
    else
      return _mm256_or_si256(_mm256_srlv_epi32(x, shifts(a & 31, b & 31)),
                             _mm256_sllv_epi32(x, shifts(-a & 31, -b & 31)));
  }
  // The 16-bit sums of two products stay in range: codes are at most 128 in magnitude where they
  // are signed and at most 63 elsewhere, activations at most 127.
  template <bool kSigned>
  HEARTH_INLINE static __m256i plus_dot(__m256i sum, __m256i codes, __m256i activations) {
    if constexpr (kSigned) {
      activations = _mm256_sign_epi8(activations, codes);
      codes = _mm256_abs_epi8(codes);
    }
    const __m256i pairs = _mm256_maddubs_epi16(codes, activations);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

HEARTH_INLINE Wide operator&(Wide a, Wide b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
HEARTH_INLINE Wide operator|(Wide a, Wide b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
HEARTH_INLINE Wide operator^(Wide a, Wide b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
HEARTH_INLINE Wide operator-(Wide a, Wide b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
HEARTH_INLINE Wide Wide::plus_where(Wide bytes, Wide bit, Wide value) const {
  return plus_bytes(bytes.has(bit) & value);
}
HEARTH_INLINE Wide Wide::with_bits(Wide from, Wide mask) const { return *this | (from & mask); }

// Quarters 0 and 2 (1 and 3) of both.
HEARTH_INLINE Wide even_quarters(Wide a, Wide b) {
  return {_mm256_permute2x128_si256(a.low, a.high, 0x20),
          _mm256_permute2x128_si256(b.low, b.high, 0x20)};
}
HEARTH_INLINE Wide odd_quarters(Wide a, Wide b) {
  return {_mm256_permute2x128_si256(a.low, a.high, 0x31),
          _mm256_permute2x128_si256(b.low, b.high, 0x31)};
}
// Quarters 0, 0, 2, 2 (1, 1, 3, 3).
HEARTH_INLINE Wide double_even_quarters(Wide a) {
  return {_mm256_permute4x64_epi64(a.low, 0x44), _mm256_permute4x64_epi64(a.high, 0x44)};
}
HEARTH_INLINE Wide double_odd_quarters(Wide a) {
  return {_mm256_permute4x64_epi64(a.low, 0xee), _mm256_permute4x64_epi64(a.high, 0xee)};
}
// The first (second) eight bytes of each quarter of a, then those of b.
HEARTH_INLINE Wide first_eights(Wide a, Wide b) {
  return {_mm256_unpacklo_epi64(a.low, b.low), _mm256_unpacklo_epi64(a.high, b.high)};
}
HEARTH_INLINE Wide second_eights(Wide a, Wide b) {
  return {_mm256_unpackhi_epi64(a.low, b.low), _mm256_unpackhi_epi64(a.high, b.high)};
}
// Quarter k of a twice, then of b twice.
template <int k>
HEARTH_INLINE Wide double_quarter(Wide a, Wide b) {
  constexpr int kSelect = k % 2 == 0 ? 0x44 : 0xee;
  return {_mm256_permute4x64_epi64(k < 2 ? a.low : a.high, kSelect),
          _mm256_permute4x64_epi64(k < 2 ? b.low : b.high, kSelect)};
}

// The sum of each quarter: a's 0, b's 0, a's 1, b's 1, ...
HEARTH_INLINE __m256i sum_quarters(Wide a, Wide b) {
  return Wide{_mm256_hadd_epi32(a.low, b.low), _mm256_hadd_epi32(a.high, b.high)}.sum_of_pairs();
}
// Likewise for four: quarter q holds the sums of quarter q of a, b, c, d.
HEARTH_INLINE Wide sum_quarters(Wide a, Wide b, Wide c, Wide d) {
  return {_mm256_hadd_epi32(_mm256_hadd_epi32(a.low, b.low), _mm256_hadd_epi32(c.low, d.low)),
          _mm256_hadd_epi32(_mm256_hadd_epi32(a.high, b.high), _mm256_hadd_epi32(c.high, d.high))};
}

// Word i of 8 rows given in pairs of quarters {0, 4}, {1, 5}, {2, 6}, {3, 7}.
HEARTH_INLINE void transpose_eight(const __m256i (&x)[4], __m256i (&out)[4]) {
  const __m256i low01 = _mm256_unpacklo_epi32(x[0], x[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(x[2], x[3]);
  const __m256i high01 = _mm256_unpackhi_epi32(x[0], x[1]);
  const __m256i high23 = _mm256_unpackhi_epi32(x[2], x[3]);
  out[0] = _mm256_unpacklo_epi64(low01, low23);
  out[1] = _mm256_unpackhi_epi64(low01, low23);
  out[2] = _mm256_unpacklo_epi64(high01, high23);
  out[3] = _mm256_unpackhi_epi64(high01, high23);
}

// Word i of 16 rows at `first` + r × kStride, for i = 0..3: lane r of out[i] is of row r.
template <std::size_t kStride>
HEARTH_INLINE void transpose(const std::uint8_t* first, Wide (&out)[4]) {
  __m256i low[4], high[4], low_words[4], high_words[4];
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint8_t* at = first + i * kStride;
    const Wide x = Wide::quarters(at, at + 4 * kStride, at + 8 * kStride, at + 12 * kStride);
    low[i] = x.low;
    high[i] = x.high;
  }
  transpose_eight(low, low_words);
  transpose_eight(high, high_words);
  for (int i = 0; i < 4; ++i) out[i] = {low_words[i], high_words[i]};
}

struct Floats {
  static constexpr std::uint32_t kTokenTile = 1;  // four rows fill half of the sixteen registers

  __m256 low, high;

  HEARTH_INLINE static Floats zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  HEARTH_INLINE static Floats load(const float* at) {
    return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)};
  }
  HEARTH_INLINE static Floats load_f16(const void* at) {
    const auto* words = static_cast<const __m128i*>(at);
    return {_mm256_cvtph_ps(_mm_loadu_si128(words)), _mm256_cvtph_ps(_mm_loadu_si128(words + 1))};
  }
  HEARTH_INLINE static Floats load_bf16(const void* at) {
    const auto half = [](const __m128i* words) {
      const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(words));
      return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    };
    const auto* words = static_cast<const __m128i*>(at);
    return {half(words), half(words + 1)};
  }
  HEARTH_INLINE static Floats from(Wide integers) {
    return {_mm256_cvtepi32_ps(integers.low), _mm256_cvtepi32_ps(integers.high)};
  }
  HEARTH_INLINE static Floats from_bits(Wide bits) {
    return {_mm256_castsi256_ps(bits.low), _mm256_castsi256_ps(bits.high)};
  }
  HEARTH_INLINE static Floats broadcast(float value) {
    return {_mm256_set1_ps(value), _mm256_set1_ps(value)};
  }
  HEARTH_INLINE void store(float* at) const {
    _mm256_storeu_ps(at, low);
    _mm256_storeu_ps(at + 8, high);
  }
  HEARTH_INLINE void add_product(Floats a, Floats b) {
    low = _mm256_fmadd_ps(a.low, b.low, low);
    high = _mm256_fmadd_ps(a.high, b.high, high);
  }
  // Lanes i and i + 8 added.
  HEARTH_INLINE __m256 halved() const { return _mm256_add_ps(low, high); }
};

HEARTH_INLINE Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
HEARTH_INLINE Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

}  // namespace
}  // namespace hearth::kernels

#include "kernels/cpu/matmul/blocks.h"
#include "kernels/cpu/matmul/floats.h"
#include "kernels/cpu/matmul/quantize.h"

namespace hearth::kernels {

void fill_matmul_avx2(CpuKernels& table) {
  fill_blocks<Wide, Floats>(table, "avx2");
  fill_floats<Floats>(table, "avx2");
  table.quantize = quantize;
}

}  // namespace hearth::kernels
