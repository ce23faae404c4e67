// The i-quants with code books (kernels/quant/grids.h) to the tile of kernels/cpu/matmul/tile.h.
//
// Quarter q of a tile holds the values 64 q to 64 q + 63 of a block, codes[j] the values 16 j to
// 16 j + 15 of these. So whatever a format stores of groups of values, eight groups lie in a
// quarter in the order of the file, and groups 2 j and 2 j + 1 are shuffled from there for
// codes[j]: to lanes of indices for one gather, and to bytes of signs. The gathers' loads bound the
// formats: 32 for a block, 64 where an entry is four values (IQ3).
#pragma once

#include "kernels/cpu/matmul/unpack.h"

namespace hearth::kernels {

// What a shuffle of eight bytes, the same in all quarters, takes: bytes 2 q and 2 q + 1 for quarter
// q, each as the low byte of four words. 128 gives a zero.
struct QuarterShuffle {
  std::uint8_t at[64];
};
inline constexpr QuarterShuffle kPairOfBytes = [] {
  QuarterShuffle shuffle{};
  for (int i = 0; i < 64; ++i)
    shuffle.at[i] = static_cast<std::uint8_t>(i % 2 == 1 ? 128 : i / 16 * 2 + i % 16 / 8);
  return shuffle;
}();
// Of sixteen bytes: bytes 4 q to 4 q + 3, each as the low byte of two words.
inline constexpr QuarterShuffle kFourBytes = [] {
  QuarterShuffle shuffle{};
  for (int i = 0; i < 64; ++i)
    shuffle.at[i] = static_cast<std::uint8_t>(i % 2 == 1 ? 128 : i / 16 * 4 + i % 16 / 4);
  return shuffle;
}();
// Of eight words: words 2 q and 2 q + 1, each four times, the fourth time only its high byte.
inline constexpr QuarterShuffle kPairOfWords = [] {
  QuarterShuffle shuffle{};
  for (int i = 0; i < 64; ++i) {
    const int word = (i / 16 * 2 + i % 16 / 8) * 2;
    const bool fourth = i % 8 >= 6;
    shuffle.at[i] = static_cast<std::uint8_t>(!fourth ? word + i % 2 : i % 2 == 1 ? 128 : word + 1);
  }
  return shuffle;
}();

namespace {

HEARTH_INLINE __m128i pair(std::uint64_t first, std::uint64_t second) {
  return _mm_set_epi64x(static_cast<long long>(second), static_cast<long long>(first));
}

template <typename Wide>
HEARTH_INLINE Wide all_words(int value) {
  return Wide::same_quarters(_mm_set1_epi16(static_cast<short>(value)));
}

template <typename Wide>
HEARTH_INLINE Wide eight_bytes(const std::uint8_t* at) {
  const auto bytes = load_as<std::uint64_t>(at);
  return Wide::same_quarters(_mm_set1_epi64x(static_cast<long long>(bytes)));
}

// 2 × scale + 1 of eight (sixteen) nibbles.
HEARTH_INLINE __m256i odd_scales(__m256i nibbles) {
  const __m256i scales = _mm256_and_si256(nibbles, _mm256_set1_epi32(15));
  return _mm256_add_epi32(_mm256_slli_epi32(scales, 1), _mm256_set1_epi32(1));
}
HEARTH_INLINE __m128i odd_nibble_scales(const std::uint8_t* at) {
  const auto bytes = load_as<std::uint64_t>(at);
  const __m128i nibbles =
      _mm_and_si128(_mm_unpacklo_epi8(pair(bytes, 0), pair(bytes >> 4, 0)), _mm_set1_epi8(15));
  return _mm_add_epi8(_mm_add_epi8(nibbles, nibbles), _mm_set1_epi8(1));
}

HEARTH_INLINE __m256 scaled_f16(std::uint16_t bits, float factor) {
  const __m256 d = _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(bits)));
  return _mm256_mul_ps(d, _mm256_set1_ps(factor));
}

// Entries of eight values whose indices are bytes kFirst and kSecond (words at these bytes) of each
// quarter.
template <int kFirst, int kSecond, typename Wide, std::size_t kCount>
HEARTH_INLINE Wide by_bytes(const Table<std::uint64_t, kCount>& grid, Wide index) {
  const __m128i lanes = _mm_setr_epi8(kFirst, -1, -1, -1, -1, -1, -1, -1,  //
                                      kSecond, -1, -1, -1, -1, -1, -1, -1);
  return Wide::gather(grid.at, index.lookup(Wide::same_quarters(lanes)));
}
template <int kFirst, int kSecond, typename Wide, std::size_t kCount>
HEARTH_INLINE Wide by_words(const Table<std::uint64_t, kCount>& grid, Wide index) {
  const __m128i lanes = _mm_setr_epi8(kFirst, kFirst + 1, -1, -1, -1, -1, -1, -1,  //
                                      kSecond, kSecond + 1, -1, -1, -1, -1, -1, -1);
  return Wide::gather(grid.at, index.lookup(Wide::same_quarters(lanes)));
}

// Bytes kFirst to kFirst + 3 of each quarter as 32-bit lanes.
template <int kFirst, typename Wide>
HEARTH_INLINE Wide four_lanes(Wide bytes) {
  const __m128i lanes = _mm_setr_epi8(kFirst, -1, -1, -1, kFirst + 1, -1, -1, -1,  //
                                      kFirst + 2, -1, -1, -1, kFirst + 3, -1, -1, -1);
  return bytes.lookup(Wide::same_quarters(lanes));
}

// Byte kFirst of each quarter eight times, then kSecond.
template <int kFirst, int kSecond, typename Wide>
HEARTH_INLINE Wide two_bytes(Wide bytes) {
  const __m128i select =
      _mm_setr_epi8(kFirst, kFirst, kFirst, kFirst, kFirst, kFirst, kFirst, kFirst, kSecond,
                    kSecond, kSecond, kSecond, kSecond, kSecond, kSecond, kSecond);
  return bytes.lookup(Wide::same_quarters(select));
}

// The operand of sixteen magnitudes in each quarter whose signs are the bits of two bytes.
template <int kFirst, int kSecond, typename Wide>
HEARTH_INLINE Wide with_signs(Wide values, Wide signs) {
  const auto bits = static_cast<long long>(0x8040201008040201u);
  const Wide bit = Wide::same_quarters(_mm_set1_epi64x(bits));
  return values.negated_where(two_bytes<kFirst, kSecond>(signs), bit).as_operand();
}

// Bytes of seven signs get the eighth, which makes their number even.
template <typename Wide>
HEARTH_INLINE Wide with_even_sign(Wide signs) {
  const Wide odd = Wide::same_quarters(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const Wide nibble = (signs ^ signs.template shifted_right<4>()) & Wide::bytes(15);
  return signs | odd.lookup(nibble);
}

// Four times seven bits of each 32-bit lane to four bytes of signs.
template <typename Wide>
HEARTH_INLINE Wide even_signs(Wide words) {
  const auto mask = [](std::uint32_t bits) {
    return Wide::same_quarters(_mm_set1_epi32(static_cast<int>(bits)));
  };
  const Wide signs = (words & mask(0x7f))
                         .with_bits(words.template shifted_left<1>(), mask(0x7f00))
                         .with_bits(words.template shifted_left<2>(), mask(0x7f0000))
                         .with_bits(words.template shifted_left<3>(), mask(0x7f000000));
  return with_even_sign(signs);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XXS>, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const Wide parts = Wide::load(at + 2);  // a quarter is two of them
  const Wide signs = even_signs(parts);
  tile.codes[0] = with_signs<4, 5>(by_bytes<0, 1>(kIq2XxsGrid, parts), signs);
  tile.codes[1] = with_signs<6, 7>(by_bytes<2, 3>(kIq2XxsGrid, parts), signs);
  tile.codes[2] = with_signs<12, 13>(by_bytes<8, 9>(kIq2XxsGrid, parts), signs);
  tile.codes[3] = with_signs<14, 15>(by_bytes<10, 11>(kIq2XxsGrid, parts), signs);
  // The high words of the eight parts.
  const auto four_parts = [at](int first) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(at + 2 + 8 * first));
  };
  const __m256i high = _mm256_castps_si256(_mm256_shuffle_ps(four_parts(0), four_parts(4), 0xdd));
  tile.scales = odd_scales(_mm256_srli_epi32(_mm256_permute4x64_epi64(high, 0xd8), 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XS>, const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide entries = Wide::load(at + 2);
  const Wide index = entries & all_words<Wide>(511);
  const Wide signs = with_even_sign(entries.template shifted_right<9>() & all_words<Wide>(127));
  tile.codes[0] = with_signs<0, 2>(by_words<0, 2>(kIq2XsGrid, index), signs);
  tile.codes[1] = with_signs<4, 6>(by_words<4, 6>(kIq2XsGrid, index), signs);
  tile.codes[2] = with_signs<8, 10>(by_words<8, 10>(kIq2XsGrid, index), signs);
  tile.codes[3] = with_signs<12, 14>(by_words<12, 14>(kIq2XsGrid, index), signs);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 66));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  // Two bits of a byte for each of four groups, moved to bits 8 and 9.
  const Wide high = eight_bytes<Wide>(at + 66).lookup(Wide::load(kPairOfBytes.at));
  const Wide moves = Wide::same_quarters(_mm_setr_epi16(256, 64, 16, 4, 256, 64, 16, 4));
  const Wide index =
      Wide::words_of_bytes(at + 2).with_bits(high.times_words(moves), all_words<Wide>(0x300));
  const Wide signs = Wide::doubled_eights(at + 34);
  tile.codes[0] = with_signs<0, 1>(by_words<0, 2>(kIq2SGrid, index), signs);
  tile.codes[1] = with_signs<2, 3>(by_words<4, 6>(kIq2SGrid, index), signs);
  tile.codes[2] = with_signs<4, 5>(by_words<8, 10>(kIq2SGrid, index), signs);
  tile.codes[3] = with_signs<6, 7>(by_words<12, 14>(kIq2SGrid, index), signs);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 74));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_XXS>, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const Wide index = Wide::load(at + 2);
  const Wide signs = even_signs(Wide::doubled_eights(at + 66));
  const auto entries = [](Wide lanes) { return Wide::gather(kIq3XxsGrid.at, lanes); };
  tile.codes[0] = with_signs<0, 1>(entries(four_lanes<0>(index)), signs);
  tile.codes[1] = with_signs<2, 3>(entries(four_lanes<4>(index)), signs);
  tile.codes[2] = with_signs<4, 5>(entries(four_lanes<8>(index)), signs);
  tile.codes[3] = with_signs<6, 7>(entries(four_lanes<12>(index)), signs);
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 66));
  tile.scales = odd_scales(_mm256_srli_epi32(words, 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.25f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const Wide low = Wide::load(at + 2);
  // A bit for each index, moved to bit 8 of its lane.
  const Wide high = eight_bytes<Wide>(at + 66).lookup(Wide::load(kPairOfBytes.at));
  const auto to_second_byte = [&](char byte) {
    const __m128i lane = _mm_set1_epi32(0x80800080 | (byte << 8));
    return high.lookup(Wide::same_quarters(lane));
  };
  const Wide first = to_second_byte(0), second = to_second_byte(8);
  const auto entries = [](Wide lanes, Wide byte, int bit) {
    const Wide counts = Wide::same_quarters(_mm_setr_epi32(bit, bit + 1, bit + 2, bit + 3));
    const Wide ninth = Wide::same_quarters(_mm_set1_epi32(256));
    return Wide::gather(kIq3SGrid.at, lanes.with_bits(byte.shifted_right(counts), ninth));
  };
  const Wide signs = Wide::doubled_eights(at + 74);
  tile.codes[0] = with_signs<0, 1>(entries(four_lanes<0>(low), first, 0), signs);
  tile.codes[1] = with_signs<2, 3>(entries(four_lanes<4>(low), first, 4), signs);
  tile.codes[2] = with_signs<4, 5>(entries(four_lanes<8>(low), second, 0), signs);
  tile.codes[3] = with_signs<6, 7>(entries(four_lanes<12>(low), second, 4), signs);
  tile.scales = odd_scales(_mm256_srlv_epi32(_mm256_set1_epi32(load_as<int>(at + 106)),
                                             _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 1);
}

// -1 where a byte has the bit, else 1: the shift of IQ1, as an operand, which its sum with the
// values of an entry then is, too.
template <typename Wide>
HEARTH_INLINE Wide iq1_shift(Wide bytes, Wide bit) {
  return (bytes.has(bit) | Wide::bytes(1)).as_operand();
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const __m128i words = load_quarter(at + 34);
  // Three bits of a word for each of four groups, moved to bits 8 to 10.
  const Wide high = Wide::same_quarters(words).lookup(Wide::load(kPairOfWords.at));
  const Wide moves = Wide::same_quarters(_mm_setr_epi16(256, 32, 4, 128, 256, 32, 4, 128));
  const Wide index =
      Wide::words_of_bytes(at + 2).with_bits(high.times_words(moves), all_words<Wide>(0x700));
  const Wide top = Wide::bytes(-128);
  const Wide first = iq1_shift(two_bytes<1, 1>(high), top);
  const Wide second = iq1_shift(two_bytes<9, 9>(high), top);
  tile.codes[0] = by_words<0, 2>(kIq1Grid, index).plus_bytes(first);
  tile.codes[1] = by_words<4, 6>(kIq1Grid, index).plus_bytes(first);
  tile.codes[2] = by_words<8, 10>(kIq1Grid, index).plus_bytes(second);
  tile.codes[3] = by_words<12, 14>(kIq1Grid, index).plus_bytes(second);
  const __m256i scales = _mm256_srli_epi32(_mm256_cvtepu16_epi32(words), 12);
  tile.scales = odd_scales(_mm256_and_si256(scales, _mm256_set1_epi32(7)));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_M>, const std::uint8_t* at, Tile<Wide>& tile) {
  // A nibble for each group, three bits of it moved to bits 8 to 10; the fourth is its shift.
  const Wide high = Wide::same_quarters(load_quarter(at + 32)).lookup(Wide::load(kFourBytes.at));
  const Wide moves = Wide::same_quarters(_mm_set1_epi32(256 | (16 << 16)));
  const Wide index =
      Wide::words_of_bytes(at).with_bits(high.times_words(moves), all_words<Wide>(0x700));
  const Wide bit = Wide::same_quarters(pair(0x0808080808080808u, 0x8080808080808080u));
  tile.codes[0] = by_words<0, 2>(kIq1Grid, index).plus_bytes(iq1_shift(two_bytes<0, 0>(high), bit));
  tile.codes[1] = by_words<4, 6>(kIq1Grid, index).plus_bytes(iq1_shift(two_bytes<4, 4>(high), bit));
  tile.codes[2] =
      by_words<8, 10>(kIq1Grid, index).plus_bytes(iq1_shift(two_bytes<8, 8>(high), bit));
  tile.codes[3] =
      by_words<12, 14>(kIq1Grid, index).plus_bytes(iq1_shift(two_bytes<12, 12>(high), bit));
  // Four words: twelve bits of scales, three each, and four of d.
  const auto words = load_as<std::uint64_t>(at + 48);
  const std::uint64_t scales = _pext_u64(words, 0x0fff0fff0fff0fffu);
  const __m128i threes =
      pair(_pdep_u64(scales, 0x0707070707070707u), _pdep_u64(scales >> 24, 0x0707070707070707u));
  tile.half_scales = Wide::from_i8(_mm_add_epi8(_mm_add_epi8(threes, threes), _mm_set1_epi8(1)));
  const std::uint64_t d = _pext_u64(words, 0xf000f000f000f000u);
  tile.d = scaled_f16(static_cast<std::uint16_t>(d), 0.125f);
}

}  // namespace
}  // namespace hearth::kernels
