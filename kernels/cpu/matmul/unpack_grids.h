// The i-quants with code books (kernels/quant/grids.h) to the tile of kernels/cpu/matmul/tile.h.
//
// Sixteen values are two entries of the book and two of signs: four loads whose addresses come from
// the block. These loads, not memory, bound the formats.
#pragma once

#include "kernels/cpu/matmul/unpack.h"

namespace hearth::kernels {
namespace {

// `half(i)` gives the values 16 i to 16 i + 15 as signed bytes.
template <typename Wide, typename Half>
HEARTH_INLINE void unpack_halves(Half half, Tile<Wide>& tile) {
  for (int i = 0; i < 4; ++i)
    tile.codes[i] = Wide::quarters(half(i), half(4 + i), half(8 + i), half(12 + i)).as_operand();
}

HEARTH_INLINE __m128i pair(std::uint64_t first, std::uint64_t second) {
  return _mm_set_epi64x(static_cast<long long>(second), static_cast<long long>(first));
}

HEARTH_INLINE std::uint64_t joined(std::uint32_t low, std::uint32_t high) {
  return low | (std::uint64_t{high} << 32);
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

// Signs of group g of a part: seven bits of its word.
HEARTH_INLINE __m128i even_signs(std::uint32_t word, int g) {
  return pair(kEvenSigns.at[(word >> (7 * g)) & 127], kEvenSigns.at[(word >> (7 * g + 7)) & 127]);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XXS>, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const std::uint8_t* part = at + 2 + 8 * (i / 2);
    const int g = i % 2 * 2;
    const __m128i grid = pair(kIq2XxsGrid.at[part[g]], kIq2XxsGrid.at[part[g + 1]]);
    return _mm_sign_epi8(grid, even_signs(load_as<std::uint32_t>(part + 4), g));
  };
  unpack_halves(half, tile);
  // The high words of the eight parts.
  const __m256i words = _mm256_i32gather_epi32(reinterpret_cast<const int*>(at + 6),
                                               _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14), 4);
  tile.scales = odd_scales(_mm256_srli_epi32(words, 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_XS>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const auto two = load_as<std::uint32_t>(at + 2 + 4 * i);
    const __m128i grid = pair(kIq2XsGrid.at[two & 511], kIq2XsGrid.at[(two >> 16) & 511]);
    return _mm_sign_epi8(grid, pair(kEvenSigns.at[(two >> 9) & 127], kEvenSigns.at[two >> 25]));
  };
  unpack_halves(half, tile);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 66));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ2_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const std::uint32_t high = static_cast<std::uint32_t>(at[66 + i / 2]) >> (i % 2 * 4);
    const __m128i grid = pair(kIq2SGrid.at[at[2 + 2 * i] | (high << 8 & 0x300)],
                              kIq2SGrid.at[at[3 + 2 * i] | (high << 6 & 0x300)]);
    return _mm_sign_epi8(grid, pair(kSigns.at[at[34 + 2 * i]], kSigns.at[at[35 + 2 * i]]));
  };
  unpack_halves(half, tile);
  tile.half_scales = Wide::from_i8(odd_nibble_scales(at + 74));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_XXS>, const std::uint8_t* at,
                          Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const std::uint8_t* grid = at + 2 + 4 * i;
    const __m128i values = pair(joined(kIq3XxsGrid.at[grid[0]], kIq3XxsGrid.at[grid[1]]),
                                joined(kIq3XxsGrid.at[grid[2]], kIq3XxsGrid.at[grid[3]]));
    return _mm_sign_epi8(values,
                         even_signs(load_as<std::uint32_t>(at + 66 + 4 * (i / 2)), i % 2 * 2));
  };
  unpack_halves(half, tile);
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 66));
  tile.scales = odd_scales(_mm256_srli_epi32(words, 28));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.25f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ3_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const std::uint8_t* low = at + 2 + 4 * i;
    const std::uint32_t high = static_cast<std::uint32_t>(at[66 + i / 2]) >> (i % 2 * 4);
    const auto entry = [&](int j) { return kIq3SGrid.at[low[j] | ((high >> j & 1) << 8)]; };
    const __m128i values = pair(joined(entry(0), entry(1)), joined(entry(2), entry(3)));
    return _mm_sign_epi8(values, pair(kSigns.at[at[74 + 2 * i]], kSigns.at[at[75 + 2 * i]]));
  };
  unpack_halves(half, tile);
  tile.scales = odd_scales(_mm256_srlv_epi32(_mm256_set1_epi32(load_as<int>(at + 106)),
                                             _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)));
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 1);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_S>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const std::uint32_t high = load_as<std::uint16_t>(at + 34 + 2 * (i / 2));
    const std::uint32_t first = high >> (i % 2 * 6);
    const __m128i grid = pair(kIq1Grid.at[at[2 + 2 * i] | (first << 8 & 0x700)],
                              kIq1Grid.at[at[3 + 2 * i] | (first << 5 & 0x700)]);
    return _mm_add_epi8(grid,
                        _mm_set1_epi8(static_cast<char>(1 - 2 * static_cast<int>(high >> 15))));
  };
  unpack_halves(half, tile);
  const __m256i words = _mm256_cvtepu16_epi32(load_quarter(at + 34));
  const __m256i scales = _mm256_and_si256(_mm256_srli_epi32(words, 12), _mm256_set1_epi32(7));
  tile.scales = odd_scales(scales);
  tile.d = scaled_f16(load_as<std::uint16_t>(at), 0.125f);
}

template <typename Wide>
HEARTH_INLINE void unpack(Format<WeightFormat::kIQ1_M>, const std::uint8_t* at, Tile<Wide>& tile) {
  const auto half = [&](int i) {
    const std::uint32_t high = at[32 + i];
    const __m128i grid = pair(kIq1Grid.at[at[2 * i] | (high << 8 & 0x700)],
                              kIq1Grid.at[at[2 * i + 1] | (high << 4 & 0x700)]);
    const __m128i shifts = pair(high & 8 ? ~std::uint64_t{0} : 0x0101010101010101u,
                                high & 128 ? ~std::uint64_t{0} : 0x0101010101010101u);
    return _mm_add_epi8(grid, shifts);
  };
  unpack_halves(half, tile);
  // Three bits each: 12 bits of four words.
  const auto words = load_as<std::uint64_t>(at + 48);
  std::uint64_t scales[2] = {0, 0};
  for (int p = 0; p < 16; ++p)
    scales[p / 8] |= ((words >> (p / 4 * 16 + p % 4 * 3)) & 7) << (p % 8 * 8);
  const __m128i threes = pair(scales[0], scales[1]);
  tile.half_scales = Wide::from_i8(_mm_add_epi8(_mm_add_epi8(threes, threes), _mm_set1_epi8(1)));
  const std::uint64_t d =
      (words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000);
  tile.d = scaled_f16(static_cast<std::uint16_t>(d), 0.125f);
}

}  // namespace
}  // namespace hearth::kernels
