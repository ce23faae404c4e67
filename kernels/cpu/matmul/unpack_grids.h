// The i-quants with code books (kernels/quant/grids.h) to the tile of kernels/cpu/matmul/tile.h.
//
// Quarter q of a tile holds the values 64 q to 64 q + 63 of a block, codes[j] the values 16 j to
// 16 j + 15 of these. So whatever a format stores of groups of values, eight groups lie in a
// quarter in the order of the file, and groups 2 j and 2 j + 1 are taken from there for codes[j]:
// their entries by loads or by gathers, as the set wants it (Wide::kGathers), their signs by a
// shuffle. The loads of entries bound the formats: 32 for a block, 64 where an entry is four values
// (IQ3).
#pragma once

#include "kernels/cpu/matmul/grid_gathers.h"
#include "kernels/cpu/matmul/grid_loads.h"

namespace hearth::kernels {

namespace {

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

// Entries of a block to codes, without signs.
template <WeightFormat format, typename Wide>
HEARTH_INLINE void look_up_entries(Format<format> tag, const std::uint8_t* at, Wide (&codes)[4]) {
  if constexpr (Wide::template kGathers<format>)
    gathers::look_up(tag, at, codes);
  else
    loads::look_up(tag, at, codes);
}

// Byte kFirst of each quarter eight times, then kSecond.
template <int kFirst, int kSecond, typename Wide>
HEARTH_INLINE Wide two_bytes(Wide bytes) {
  const __m128i select =
      _mm_setr_epi8(kFirst, kFirst, kFirst, kFirst, kFirst, kFirst, kFirst, kFirst, kSecond,
                    kSecond, kSecond, kSecond, kSecond, kSecond, kSecond, kSecond);
  return bytes.lookup(Wide::same_quarters(select));
}

// Magnitudes to operands: the signs of codes[j] are the bits of bytes 2 j and 2 j + 1 of kBytes in
// each quarter of `signs`.
template <int... kBytes, typename Wide>
HEARTH_INLINE void give_signs(Wide signs, Wide (&codes)[4]) {
  constexpr int kAt[] = {kBytes...};
  const auto bits = static_cast<long long>(0x8040201008040201u);
  const Wide bit = Wide::same_quarters(_mm_set1_epi64x(bits));
  const auto with_signs = [&](Wide values, Wide bytes) {
    return values.negated_where(bytes, bit).as_operand();
  };
  codes[0] = with_signs(codes[0], two_bytes<kAt[0], kAt[1]>(signs));
  codes[1] = with_signs(codes[1], two_bytes<kAt[2], kAt[3]>(signs));
  codes[2] = with_signs(codes[2], two_bytes<kAt[4], kAt[5]>(signs));
  codes[3] = with_signs(codes[3], two_bytes<kAt[6], kAt[7]>(signs));
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
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XXS> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const Wide parts = Wide::load(at + 2);  // a quarter is two of them
  const Wide signs = even_signs(parts);
  look_up_entries(format, at, tile.codes);
  give_signs<4, 5, 6, 7, 12, 13, 14, 15>(signs, tile.codes);
  // The high words of the eight parts.
  const auto four_parts = [at](int from) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(at + 2 + 8 * from));
  };
  const __m256i high = _mm256_castps_si256(_mm256_shuffle_ps(four_parts(0), four_parts(4), 0xdd));
  tile.scales = odd_scales(_mm256_srli_epi32(_mm256_permute4x64_epi64(high, 0xd8), 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XS> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  look_up_entries(format, at, tile.codes);
  const Wide groups = Wide::load(at + 2);
  const Wide signs = with_even_sign(groups.template shifted_right<9>() & all_words<Wide>(127));
  give_signs<0, 2, 4, 6, 8, 10, 12, 14>(signs, tile.codes);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 66));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_S> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  look_up_entries(format, at, tile.codes);
  const Wide signs = Wide::doubled_eights(at + 34);
  give_signs<0, 1, 2, 3, 4, 5, 6, 7>(signs, tile.codes);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 74));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_XXS> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const Wide signs = even_signs(Wide::doubled_eights(at + 66));
  look_up_entries(format, at, tile.codes);
  give_signs<0, 1, 2, 3, 4, 5, 6, 7>(signs, tile.codes);
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 66));
  tile.scales = odd_scales(_mm256_srli_epi32(words, 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.25f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_S> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  look_up_entries(format, at, tile.codes);
  const Wide signs = Wide::doubled_eights(at + 74);
  give_signs<0, 1, 2, 3, 4, 5, 6, 7>(signs, tile.codes);
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
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_S> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const __m128i words = load_quarter(at + 34);
  const Wide high = Wide::same_quarters(words).lookup(Wide::load(kPairOfWords.at));
  look_up_entries(format, at, tile.codes);
  const Wide top = Wide::bytes(-128);
  const Wide first = iq1_shift(two_bytes<1, 1>(high), top);
  const Wide second = iq1_shift(two_bytes<9, 9>(high), top);
  tile.codes[0] = tile.codes[0].plus_bytes(first);
  tile.codes[1] = tile.codes[1].plus_bytes(first);
  tile.codes[2] = tile.codes[2].plus_bytes(second);
  tile.codes[3] = tile.codes[3].plus_bytes(second);
  const __m256i scales = _mm256_srli_epi32(_mm256_cvtepu16_epi32(words), 12);
  tile.scales = odd_scales(_mm256_and_si256(scales, _mm256_set1_epi32(7)));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_M> format, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  // A nibble for each group: three bits of its index, and its shift.
  const Wide high = Wide::same_quarters(load_quarter(at + 32)).lookup(Wide::load(kFourBytes.at));
  look_up_entries(format, at, tile.codes);
  const Wide bit = Wide::same_quarters(pair(0x0808080808080808u, 0x8080808080808080u));
  tile.codes[0] = tile.codes[0].plus_bytes(iq1_shift(two_bytes<0, 0>(high), bit));
  tile.codes[1] = tile.codes[1].plus_bytes(iq1_shift(two_bytes<4, 4>(high), bit));
  tile.codes[2] = tile.codes[2].plus_bytes(iq1_shift(two_bytes<8, 8>(high), bit));
  tile.codes[3] = tile.codes[3].plus_bytes(iq1_shift(two_bytes<12, 12>(high), bit));
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
