// Each block format to the tile of kernels/cpu/matmul/tile.h. The layouts are drawn in
// kernels/quant/<format>.h.
#pragma once

#include "kernels/cpu/matmul/tile.h"

namespace hearth::kernels {

template <WeightFormat format>
struct Format {};

namespace {

template <typename T>
HEARTH_INLINE T load_as(const std::uint8_t* at) {
  T value;
  __builtin_memcpy(&value, at, sizeof(T));
  return value;
}

HEARTH_INLINE __m128i load_quarter(const std::uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

// The f16 that eight blocks begin with.
template <typename Wide, int kStride>
HEARTH_INLINE __m256 first_f16(const std::uint8_t* at) {
  return _mm256_cvtph_ps(_mm256_castsi256_si128(Wide::template heads<kStride>(at)));
}
// Both f16 of formats with a minimum.
template <int kStride, typename Wide>
HEARTH_INLINE void unpack_d_and_m(const std::uint8_t* at, Tile<Wide>& tile) {
  const __m256i heads = Wide::template heads<kStride>(at);
  tile.d = _mm256_cvtph_ps(_mm256_castsi256_si128(heads));
  tile.m = _mm256_cvtph_ps(_mm256_extracti128_si256(heads, 1));
  tile.minima = _mm256_set1_epi16(1);
}

HEARTH_INLINE __m256 broadcast_f16(const std::uint8_t* at) {
  return _mm256_cvtph_ps(_mm_set1_epi16(load_as<short>(at)));
}
// The neighbours d and dmin of a K-quant.
template <typename Wide>
HEARTH_INLINE void unpack_d_and_minus_m(const std::uint8_t* at, Tile<Wide>& tile) {
  const __m128 both = _mm_cvtph_ps(
      _mm_xor_si128(_mm_loadu_si32(at), _mm_cvtsi32_si128(static_cast<int>(0x80000000u))));
  tile.d = _mm256_broadcastss_ps(both);
  tile.m = _mm256_broadcastss_ps(_mm_movehdup_ps(both));
}

// 2^(e - 128). The two smallest are denormal, fractions of one bit, which (e + 1) << 21 are for
// them; for all others the latter is less than the exponent's bits.
HEARTH_INLINE __m256 e8m0_halved(__m256i exponents) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(exponents, one), 23);
  const __m256i denormal = _mm256_slli_epi32(_mm256_add_epi32(exponents, one), 21);
  return _mm256_castsi256_ps(_mm256_max_epi32(normal, denormal));
}

HEARTH_INLINE __m256i eight_bytes_to_i32(std::uint64_t bytes) {
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes)));
}

// Nibbles of eight blocks of 16 bytes each: low ones are the first halves, high ones the second.
template <int kStride, typename Wide>
HEARTH_INLINE void unpack_nibbles(const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide even = Wide::template quarters_at<2 * kStride>(at);
  const Wide odd = Wide::template quarters_at<2 * kStride>(at + kStride);
  const Wide mask = Wide::bytes(15);
  tile.codes[0] = even & mask;
  tile.codes[1] = even.template shifted_right<4>() & mask;
  tile.codes[2] = odd & mask;
  tile.codes[3] = odd.template shifted_right<4>() & mask;
}

// The fifth bits of eight blocks: bit i of the dword at byte kAt of a block is that of code i.
template <int kStride, int kAt, typename Wide>
HEARTH_INLINE void add_fifth_bits(const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide even = Wide::template quarters_at<2 * kStride>(at);
  const Wide odd = Wide::template quarters_at<2 * kStride>(at + kStride);
  const auto byte_of_eight = [](char a, char b) {
    return Wide::same_quarters(_mm_setr_epi8(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b));
  };
  const Wide first = byte_of_eight(kAt, kAt + 1), second = byte_of_eight(kAt + 2, kAt + 3);
  const Wide bit =
      Wide::same_quarters(_mm_set1_epi64x(static_cast<long long>(0x8040201008040201u)));
  const Wide value = Wide::bytes(16);
  tile.codes[0] = tile.codes[0].plus_where(even.lookup(first), bit, value);
  tile.codes[1] = tile.codes[1].plus_where(even.lookup(second), bit, value);
  tile.codes[2] = tile.codes[2].plus_where(odd.lookup(first), bit, value);
  tile.codes[3] = tile.codes[3].plus_where(odd.lookup(second), bit, value);
}

// Q4_K and Q5_K: 64 values share 32 bytes, low nibbles the even block.
template <typename Wide>
HEARTH_INLINE void unpack_paired_nibbles(const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide a = Wide::load(at), b = Wide::load(at + 64);
  const Wide first = even_quarters(a, b), second = odd_quarters(a, b);
  const Wide mask = Wide::bytes(15);
  tile.codes[0] = first & mask;
  tile.codes[1] = second & mask;
  tile.codes[2] = first.template shifted_right<4>() & mask;
  tile.codes[3] = second.template shifted_right<4>() & mask;
}

// Q3_K and Q5_K: byte i, bit b belongs to value 32 b + i. Moves it to bit `kTo` of the code.
template <int kTo, typename Wide>
HEARTH_INLINE void add_bit_planes(const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide first = Wide::same_quarters(load_quarter(at));
  const Wide second = Wide::same_quarters(load_quarter(at + 16));
  const Wide mask = Wide::bytes(1 << kTo);
  const auto even = [](Wide x) {
    return x.template moved_right<0 - kTo, 2 - kTo, 4 - kTo, 6 - kTo>();
  };
  const auto odd = [](Wide x) {
    return x.template moved_right<1 - kTo, 3 - kTo, 5 - kTo, 7 - kTo>();
  };
  tile.codes[0] = tile.codes[0].with_bits(even(first), mask);
  tile.codes[1] = tile.codes[1].with_bits(even(second), mask);
  tile.codes[2] = tile.codes[2].with_bits(odd(first), mask);
  tile.codes[3] = tile.codes[3].with_bits(odd(second), mask);
}

// Q2_K and Q3_K: bits 2 j and 2 j + 1 of byte 32 h + i belong to value 128 h + 32 j + i.
template <typename Wide>
HEARTH_INLINE void unpack_crumbs(const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide all = Wide::load(at);
  const Wide first = double_even_quarters(all), second = double_odd_quarters(all);
  const Wide mask = Wide::bytes(3);
  tile.codes[0] = first.template moved_right<0, 4, 0, 4>() & mask;
  tile.codes[1] = second.template moved_right<0, 4, 0, 4>() & mask;
  tile.codes[2] = first.template moved_right<2, 6, 2, 6>() & mask;
  tile.codes[3] = second.template moved_right<2, 6, 2, 6>() & mask;
}

// The eight scales and minima of Q4_K and Q5_K (kernels/quant/six_bit_scales.h), four per word.
template <typename Wide>
HEARTH_INLINE void unpack_six_bits(const std::uint8_t* at, Tile<Wide>& tile) {
  const auto s = load_as<std::uint32_t>(at), m = load_as<std::uint32_t>(at + 4);
  const auto low = load_as<std::uint32_t>(at + 8);
  constexpr std::uint32_t kSix = 0x3f3f3f3f, kNibble = 0x0f0f0f0f, kHigh = 0x30303030;
  const std::uint64_t scales =
      (s & kSix) | (std::uint64_t{(low & kNibble) | ((s >> 2) & kHigh)} << 32);
  const std::uint64_t minima =
      (m & kSix) | (std::uint64_t{((low >> 4) & kNibble) | ((m >> 2) & kHigh)} << 32);
  tile.scales = eight_bytes_to_i32(scales);
  const __m128i bytes = _mm_cvtsi64_si128(static_cast<long long>(minima));
  tile.minima = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(bytes, bytes));
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ8_0>, const std::uint8_t* at, Tile<Wide>& tile) {
  constexpr std::size_t kStride = 34;
  const auto quarters = [at](std::size_t offset) {
    const std::uint8_t* first = at + offset;
    return Wide::quarters(first, first + 2 * kStride, first + 4 * kStride, first + 6 * kStride);
  };
  tile.codes[0] = quarters(2).as_operand();
  tile.codes[1] = quarters(18).as_operand();
  tile.codes[2] = quarters(2 + kStride).as_operand();
  tile.codes[3] = quarters(18 + kStride).as_operand();
  tile.d = first_f16<Wide, kStride>(at);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ4_0>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<18>(at + 2, tile);
  tile.d = first_f16<Wide, 18>(at);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ4_1>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<20>(at + 4, tile);
  unpack_d_and_m<20>(at, tile);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ5_0>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<22>(at + 6, tile);
  add_fifth_bits<22, 2>(at, tile);
  tile.d = first_f16<Wide, 22>(at);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ5_1>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<24>(at + 8, tile);
  add_fifth_bits<24, 4>(at, tile);
  unpack_d_and_m<24>(at, tile);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ2_K>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_crumbs(at + 16, tile);
  const __m128i bytes = load_quarter(at), mask = _mm_set1_epi8(15);
  tile.half_scales = Wide::from_i8(_mm_and_si128(bytes, mask));
  tile.minima = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
  unpack_d_and_minus_m(at + 80, tile);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ3_K>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_crumbs(at + 32, tile);
  add_bit_planes<2>(at, tile);
  // Bytes 0..7 twice, once for each nibble; bytes 8..11 four times, once for each pair of bits.
  const auto nibbles = load_as<std::uint64_t>(at + 96);
  const auto pairs = load_as<std::uint32_t>(at + 104);
  const __m128i low =
      _mm_set_epi64x(static_cast<long long>(nibbles >> 4), static_cast<long long>(nibbles));
  const __m128i high = _mm_setr_epi32(static_cast<int>(pairs << 4), static_cast<int>(pairs << 2),
                                      static_cast<int>(pairs), static_cast<int>(pairs >> 2));
  const __m128i scales =
      _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), _mm_and_si128(high, _mm_set1_epi8(48)));
  tile.half_scales = Wide::from_i8(_mm_sub_epi8(scales, _mm_set1_epi8(32)));
  tile.d = broadcast_f16(at + 108);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ4_K>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_paired_nibbles(at + 16, tile);
  unpack_six_bits(at + 4, tile);
  unpack_d_and_minus_m(at, tile);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ5_K>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_paired_nibbles(at + 48, tile);
  add_bit_planes<4>(at + 16, tile);
  unpack_six_bits(at + 4, tile);
  unpack_d_and_minus_m(at, tile);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kQ6_K>, const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide a = Wide::load(at), b = Wide::load(at + 64), high = Wide::load(at + 128);
  const Wide first = double_even_quarters(high), second = double_odd_quarters(high);
  const Wide nibble = Wide::bytes(15), pair = Wide::bytes(48);
  const auto low = [&](Wide x) { return x.template moved_right<0, 4, 0, 4>() & nibble; };
  const auto even = [](Wide x) { return x.template moved_right<-4, 0, -4, 0>(); };
  const auto odd = [](Wide x) { return x.template moved_right<-2, 2, -2, 2>(); };
  tile.codes[0] = low(double_quarter<0>(a, b)).with_bits(even(first), pair);
  tile.codes[1] = low(double_quarter<1>(a, b)).with_bits(even(second), pair);
  tile.codes[2] = low(double_quarter<2>(a, b)).with_bits(odd(first), pair);
  tile.codes[3] = low(double_quarter<3>(a, b)).with_bits(odd(second), pair);
  tile.half_scales = Wide::from_i8(load_quarter(at + 192));
  tile.d = broadcast_f16(at + 208);
}

template <typename Wide>
HEARTH_INLINE void look_up(const std::int8_t (&table)[16], bool is_signed, Tile<Wide>& tile) {
  Wide values = Wide::same_quarters(load_quarter(reinterpret_cast<const std::uint8_t*>(table)));
  if (is_signed) values = values.as_operand();
  for (Wide& codes : tile.codes) codes = values.lookup(codes);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ4_NL>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<18>(at + 2, tile);
  look_up(kIq4Values, true, tile);
  tile.d = first_f16<Wide, 18>(at);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ4_XS>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<16>(at + 8, tile);
  look_up(kIq4Values, true, tile);
  const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(load_as<int>(at + 4)),
                                        _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
  const __m256i high =
      _mm256_sllv_epi32(_mm256_srlv_epi32(_mm256_set1_epi32(load_as<std::uint16_t>(at + 2)),
                                          _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)),
                        _mm256_set1_epi32(4));
  const __m256i scales = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                         _mm256_and_si256(high, _mm256_set1_epi32(48)));
  tile.scales = _mm256_sub_epi32(scales, _mm256_set1_epi32(32));
  tile.d = broadcast_f16(at);
}

// The values of kDoubledE2m1 plus the offset of the formats, for unsigned codes.
inline constexpr std::int8_t kE2m1Codes[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                               12, 11, 10, 9,  8,  6,  4,  0};

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kMXFP4>, const std::uint8_t* at, Tile<Wide>& tile) {
  unpack_nibbles<17>(at + 1, tile);
  look_up(kE2m1Codes, false, tile);
  tile.d = e8m0_halved(Wide::first_bytes_of_17(at));
}

// A UE4M3, moved up to the fraction of an f16, is that f16 times 2^8: the exponents are 7 and 15
// above their zeros. In the units of the format that is 2^17.
template <typename Wide>
HEARTH_INLINE Wide ue4m3_scales(__m128i bits) {
  const __m128i nan = _mm_set1_epi8(0x7f);
  const __m128i usable = _mm_andnot_si128(_mm_cmpeq_epi8(bits, nan), _mm_and_si128(bits, nan));
  const __m256i halves = _mm256_slli_epi16(_mm256_cvtepu8_epi16(usable), 7);
  return Wide::from_f16(halves).times_float(0x1p17f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kNVFP4>, const std::uint8_t* at, Tile<Wide>& tile) {
  constexpr std::size_t kStride = 36;
  const auto quarters = [&](std::size_t offset) {
    const std::uint8_t* first = at + offset;
    return Wide::template quarters_at<kStride>(first);
  };
  const Wide even = quarters(4), odd = quarters(20), mask = Wide::bytes(15);
  const Wide even_low = even & mask, even_high = even.template shifted_right<4>() & mask;
  const Wide odd_low = odd & mask, odd_high = odd.template shifted_right<4>() & mask;
  tile.codes[0] = first_eights(even_low, even_high);
  tile.codes[1] = second_eights(even_low, even_high);
  tile.codes[2] = first_eights(odd_low, odd_high);
  tile.codes[3] = second_eights(odd_low, odd_high);
  look_up(kE2m1Codes, false, tile);
  tile.half_scales = ue4m3_scales<Wide>(_mm_setr_epi32(load_as<int>(at), load_as<int>(at + kStride),
                                                       load_as<int>(at + 2 * kStride),
                                                       load_as<int>(at + 3 * kStride)));
  tile.d = _mm256_set1_ps(0x1p-10f);
}

}  // namespace
}  // namespace hearth::kernels
