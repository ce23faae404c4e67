// The i-quants with code books (kernels/quant/grids.h) to the tile of kernels/cpu/matmul/tile.h.
//
// Quarter q of a tile holds the values 64 q to 64 q + 63 of a block, codes[j] the values 16 j to
// 16 j + 15 of these. So whatever a format stores of groups of values, eight groups lie in a
// quarter in the order of the file, and groups 2 j and 2 j + 1 are taken from there for codes[j]:
// their entries one by one, their signs by a shuffle. The loads of entries bound the formats: 32
// for a block, 64 where an entry is four values (IQ3).
#pragma once

#include "kernels/cpu/matmul/unpack.h"

namespace hearth::kernels {

// What a shuffle of sixteen bytes, the same in all quarters, takes.
struct QuarterShuffle {
  std::uint8_t at[64];
};
// Bytes 4 q to 4 q + 3 for quarter q, each as the low byte of two words. 128 gives a zero.
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

// Index i of four: bytes of the format, the low nine bits of words, or words of 64 bits.
HEARTH_INLINE std::size_t index_of(const std::uint8_t* bytes, int i) { return bytes[i]; }
struct NineBits {
  const std::uint8_t* words;
};
HEARTH_INLINE std::size_t index_of(NineBits four, int i) {
  return load_as<std::uint16_t>(four.words + 2 * i) & 511u;
}
HEARTH_INLINE std::size_t index_of(std::uint64_t four, int i) {
  return (four >> (16 * i)) & 0xffff;
}

// Words of four bytes and of what each has beyond: fields of kBits bits in `high`, from bit 8 on.
// The factors move each field to its word. (Zen 2 takes hundreds of cycles for what pdep does.)
template <int kBits>
HEARTH_INLINE std::uint64_t longer_bytes(const std::uint8_t* bytes, std::uint32_t high) {
  static_assert(kBits <= 3, "the fields of the products overlap");
  constexpr std::uint64_t kMask = ((1u << kBits) - 1) * 0x0100010001000100u;
  constexpr int kStep = 16 - kBits;
  constexpr std::uint64_t kMoves = (std::uint64_t{1} << 8) | (std::uint64_t{1} << (8 + kStep)) |
                                   (std::uint64_t{1} << (8 + 2 * kStep)) |
                                   (std::uint64_t{1} << (8 + 3 * kStep));
  const __m128i words = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(load_as<int>(bytes)));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(words)) |
         ((high & ((1u << (4 * kBits)) - 1)) * kMoves & kMask);
}

// Entries of eight (four) values, two (four) for each quarter q: those of indices `i` and i + 1
// (all) of four(q). One by one, since the gathers of x86 take longer, on many processors much
// longer.
template <int i, typename Wide, std::size_t kCount, typename Four>
HEARTH_INLINE Wide entries(const Table<std::uint64_t, kCount>& grid, Four four) {
  const auto quarter = [&](int q) {
    return pair(grid.at[index_of(four(q), i)], grid.at[index_of(four(q), i + 1)]);
  };
  return Wide::quarters(quarter(0), quarter(1), quarter(2), quarter(3));
}
template <typename Wide, std::size_t kCount, typename Four>
HEARTH_INLINE Wide entries(const Table<std::uint32_t, kCount>& grid, Four four) {
  const auto quarter = [&](int q) {
    const auto entry = [&](int i) { return static_cast<int>(grid.at[index_of(four(q), i)]); };
    return _mm_setr_epi32(entry(0), entry(1), entry(2), entry(3));
  };
  return Wide::quarters(quarter(0), quarter(1), quarter(2), quarter(3));
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
  const auto first = [at](int q) { return at + 2 + 16 * q; };
  const auto second = [at](int q) { return at + 10 + 16 * q; };
  tile.codes[0] = with_signs<4, 5>(entries<0, Wide>(kIq2XxsGrid, first), signs);
  tile.codes[1] = with_signs<6, 7>(entries<2, Wide>(kIq2XxsGrid, first), signs);
  tile.codes[2] = with_signs<12, 13>(entries<0, Wide>(kIq2XxsGrid, second), signs);
  tile.codes[3] = with_signs<14, 15>(entries<2, Wide>(kIq2XxsGrid, second), signs);
  // The high words of the eight parts.
  const auto four_parts = [at](int from) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(at + 2 + 8 * from));
  };
  const __m256i high = _mm256_castps_si256(_mm256_shuffle_ps(four_parts(0), four_parts(4), 0xdd));
  tile.scales = odd_scales(_mm256_srli_epi32(_mm256_permute4x64_epi64(high, 0xd8), 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XS>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto first = [at](int q) { return NineBits{at + 2 + 16 * q}; };
  const auto second = [at](int q) { return NineBits{at + 10 + 16 * q}; };
  const Wide groups = Wide::load(at + 2);
  const Wide signs = with_even_sign(groups.template shifted_right<9>() & all_words<Wide>(127));
  tile.codes[0] = with_signs<0, 2>(entries<0, Wide>(kIq2XsGrid, first), signs);
  tile.codes[1] = with_signs<4, 6>(entries<2, Wide>(kIq2XsGrid, first), signs);
  tile.codes[2] = with_signs<8, 10>(entries<0, Wide>(kIq2XsGrid, second), signs);
  tile.codes[3] = with_signs<12, 14>(entries<2, Wide>(kIq2XsGrid, second), signs);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 66));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto first = [at](int q) { return longer_bytes<2>(at + 2 + 8 * q, at[66 + 2 * q]); };
  const auto second = [at](int q) { return longer_bytes<2>(at + 6 + 8 * q, at[67 + 2 * q]); };
  const Wide signs = Wide::doubled_eights(at + 34);
  tile.codes[0] = with_signs<0, 1>(entries<0, Wide>(kIq2SGrid, first), signs);
  tile.codes[1] = with_signs<2, 3>(entries<2, Wide>(kIq2SGrid, first), signs);
  tile.codes[2] = with_signs<4, 5>(entries<0, Wide>(kIq2SGrid, second), signs);
  tile.codes[3] = with_signs<6, 7>(entries<2, Wide>(kIq2SGrid, second), signs);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 74));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_XXS>, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const Wide signs = even_signs(Wide::doubled_eights(at + 66));
  const auto four_entries = [at](int from) {
    return entries<Wide>(kIq3XxsGrid, [&](int q) { return at + 2 + 16 * q + from; });
  };
  tile.codes[0] = with_signs<0, 1>(four_entries(0), signs);
  tile.codes[1] = with_signs<2, 3>(four_entries(4), signs);
  tile.codes[2] = with_signs<4, 5>(four_entries(8), signs);
  tile.codes[3] = with_signs<6, 7>(four_entries(12), signs);
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 66));
  tile.scales = odd_scales(_mm256_srli_epi32(words, 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.25f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto four_entries = [at](int from) {
    return entries<Wide>(kIq3SGrid, [&](int q) {
      const int high = at[66 + 2 * q + from / 8] >> (from % 8);
      return longer_bytes<1>(at + 2 + 16 * q + from, static_cast<std::uint32_t>(high));
    });
  };
  const Wide signs = Wide::doubled_eights(at + 74);
  tile.codes[0] = with_signs<0, 1>(four_entries(0), signs);
  tile.codes[1] = with_signs<2, 3>(four_entries(4), signs);
  tile.codes[2] = with_signs<4, 5>(four_entries(8), signs);
  tile.codes[3] = with_signs<6, 7>(four_entries(12), signs);
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
  const Wide high = Wide::same_quarters(words).lookup(Wide::load(kPairOfWords.at));
  const auto first_four = [at](int q) {
    return longer_bytes<3>(at + 2 + 8 * q, load_as<std::uint16_t>(at + 34 + 4 * q));
  };
  const auto second_four = [at](int q) {
    return longer_bytes<3>(at + 6 + 8 * q, load_as<std::uint16_t>(at + 36 + 4 * q));
  };
  const Wide top = Wide::bytes(-128);
  const Wide first = iq1_shift(two_bytes<1, 1>(high), top);
  const Wide second = iq1_shift(two_bytes<9, 9>(high), top);
  tile.codes[0] = entries<0, Wide>(kIq1Grid, first_four).plus_bytes(first);
  tile.codes[1] = entries<2, Wide>(kIq1Grid, first_four).plus_bytes(first);
  tile.codes[2] = entries<0, Wide>(kIq1Grid, second_four).plus_bytes(second);
  tile.codes[3] = entries<2, Wide>(kIq1Grid, second_four).plus_bytes(second);
  const __m256i scales = _mm256_srli_epi32(_mm256_cvtepu16_epi32(words), 12);
  tile.scales = odd_scales(_mm256_and_si256(scales, _mm256_set1_epi32(7)));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

// Words of four bytes and of three bits of the nibbles of two.
HEARTH_INLINE std::uint64_t with_nibbles(const std::uint8_t* bytes, const std::uint8_t* nibbles) {
  const std::uint32_t high = load_as<std::uint16_t>(nibbles);
  const std::uint32_t pairs = (high & 0x0707) | ((high & 0x7070) >> 1);  // six bits of each byte
  return longer_bytes<3>(bytes, (pairs & 63) | ((pairs & 0x3f00) >> 2));
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_M>, const std::uint8_t* at, Tile<Wide>& tile) {
  // A nibble for each group: three bits of its index, and its shift.
  const Wide high = Wide::same_quarters(load_quarter(at + 32)).lookup(Wide::load(kFourBytes.at));
  const auto first = [at](int q) { return with_nibbles(at + 8 * q, at + 32 + 4 * q); };
  const auto second = [at](int q) { return with_nibbles(at + 4 + 8 * q, at + 34 + 4 * q); };
  const Wide bit = Wide::same_quarters(pair(0x0808080808080808u, 0x8080808080808080u));
  tile.codes[0] =
      entries<0, Wide>(kIq1Grid, first).plus_bytes(iq1_shift(two_bytes<0, 0>(high), bit));
  tile.codes[1] =
      entries<2, Wide>(kIq1Grid, first).plus_bytes(iq1_shift(two_bytes<4, 4>(high), bit));
  tile.codes[2] =
      entries<0, Wide>(kIq1Grid, second).plus_bytes(iq1_shift(two_bytes<8, 8>(high), bit));
  tile.codes[3] =
      entries<2, Wide>(kIq1Grid, second).plus_bytes(iq1_shift(two_bytes<12, 12>(high), bit));
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
