// The entries of code books of a block (kernels/cpu/matmul/unpack_grids.h), gathered. On Intel's
// Emerald Rapids twice as fast as loads one by one; gathers of four entries instead of eight
// reached 71 to 81 % of it.
#pragma once

#include "kernels/cpu/matmul/grid_shuffles.h"

namespace hearth::kernels {
namespace {
namespace gathers {

// Bytes 2 q and 2 q + 1 for quarter q, each as the low byte of four words. 128 gives a zero.
inline constexpr QuarterShuffle kPairOfBytes = [] {
  QuarterShuffle shuffle{};
  for (int i = 0; i < 64; ++i)
    shuffle.at[i] = static_cast<std::uint8_t>(i % 2 == 1 ? 128 : i / 16 * 2 + i % 16 / 8);
  return shuffle;
}();

template <typename Wide>
HEARTH_INLINE Wide eight_bytes(const std::uint8_t* at) {
  const auto bytes = load_as<std::uint64_t>(at);
  return Wide::same_quarters(_mm_set1_epi64x(static_cast<long long>(bytes)));
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

// Words 0 to 7 of each quarter are its indices.
template <typename Wide, std::size_t kCount>
HEARTH_INLINE void pairs_of_eight(const Table<std::uint64_t, kCount>& grid, Wide index,
                                  Wide (&codes)[4]) {
  codes[0] = by_words<0, 2>(grid, index);
  codes[1] = by_words<4, 6>(grid, index);
  codes[2] = by_words<8, 10>(grid, index);
  codes[3] = by_words<12, 14>(grid, index);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ2_XXS>, const std::uint8_t* at,
                           Wide (&codes)[4]) {
  const Wide parts = Wide::load(at + 2);  // a quarter is two of them
  codes[0] = by_bytes<0, 1>(kIq2XxsGrid, parts);
  codes[1] = by_bytes<2, 3>(kIq2XxsGrid, parts);
  codes[2] = by_bytes<8, 9>(kIq2XxsGrid, parts);
  codes[3] = by_bytes<10, 11>(kIq2XxsGrid, parts);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ2_XS>, const std::uint8_t* at,
                           Wide (&codes)[4]) {
  pairs_of_eight(kIq2XsGrid, Wide::load(at + 2) & all_words<Wide>(511), codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ2_S>, const std::uint8_t* at, Wide (&codes)[4]) {
  // Two bits of a byte for each of four groups, moved to bits 8 and 9.
  const Wide high = eight_bytes<Wide>(at + 66).lookup(Wide::load(kPairOfBytes.at));
  const Wide moves = Wide::same_quarters(_mm_setr_epi16(256, 64, 16, 4, 256, 64, 16, 4));
  pairs_of_eight(
      kIq2SGrid,
      Wide::words_of_bytes(at + 2).with_bits(high.times_words(moves), all_words<Wide>(0x300)),
      codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ3_XXS>, const std::uint8_t* at,
                           Wide (&codes)[4]) {
  const Wide index = Wide::load(at + 2);
  codes[0] = Wide::gather(kIq3XxsGrid.at, four_lanes<0>(index));
  codes[1] = Wide::gather(kIq3XxsGrid.at, four_lanes<4>(index));
  codes[2] = Wide::gather(kIq3XxsGrid.at, four_lanes<8>(index));
  codes[3] = Wide::gather(kIq3XxsGrid.at, four_lanes<12>(index));
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ3_S>, const std::uint8_t* at, Wide (&codes)[4]) {
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
  codes[0] = entries(four_lanes<0>(low), first, 0);
  codes[1] = entries(four_lanes<4>(low), first, 4);
  codes[2] = entries(four_lanes<8>(low), second, 0);
  codes[3] = entries(four_lanes<12>(low), second, 4);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ1_S>, const std::uint8_t* at, Wide (&codes)[4]) {
  // Three bits of a word for each of four groups, moved to bits 8 to 10.
  const Wide high = Wide::same_quarters(load_quarter(at + 34)).lookup(Wide::load(kPairOfWords.at));
  const Wide moves = Wide::same_quarters(_mm_setr_epi16(256, 32, 4, 128, 256, 32, 4, 128));
  pairs_of_eight(
      kIq1Grid,
      Wide::words_of_bytes(at + 2).with_bits(high.times_words(moves), all_words<Wide>(0x700)),
      codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ1_M>, const std::uint8_t* at, Wide (&codes)[4]) {
  // A nibble for each group, three bits of it moved to bits 8 to 10.
  const Wide high = Wide::same_quarters(load_quarter(at + 32)).lookup(Wide::load(kFourBytes.at));
  const Wide moves = Wide::same_quarters(_mm_set1_epi32(256 | (16 << 16)));
  pairs_of_eight(
      kIq1Grid, Wide::words_of_bytes(at).with_bits(high.times_words(moves), all_words<Wide>(0x700)),
      codes);
}

}  // namespace gathers
}  // namespace
}  // namespace hearth::kernels
