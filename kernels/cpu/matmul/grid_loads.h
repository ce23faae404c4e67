// The entries of code books of a block (kernels/cpu/matmul/unpack_grids.h), loaded one by one with
// indices from general registers. The fastest way on a Zen 5, with AVX-512 and with AVX2, by 13 to
// 40 % against gathers. pdep would make words of bytes in one step, for which Zen 2 takes hundreds
// of cycles.
#pragma once

#include "kernels/cpu/matmul/grid_shuffles.h"

namespace hearth::kernels {
namespace {
namespace loads {

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

// Words of four bytes and of three bits of the nibbles of two.
HEARTH_INLINE std::uint64_t with_nibbles(const std::uint8_t* bytes, const std::uint8_t* nibbles) {
  const std::uint32_t high = load_as<std::uint16_t>(nibbles);
  const std::uint32_t pairs = (high & 0x0707) | ((high & 0x7070) >> 1);  // six bits of each byte
  return longer_bytes<3>(bytes, (pairs & 63) | ((pairs & 0x3f00) >> 2));
}

// Entries of eight values: four(0) and four(1) are the indices of quarter 0, and so on.
template <typename Wide, std::size_t kCount, typename Four>
HEARTH_INLINE void look_up(const Table<std::uint64_t, kCount>& grid, Four four, Wide (&codes)[4]) {
  __m128i pairs[4][4];
  const auto quarter = [&](int q, int half) {
    const auto index = four(2 * q + half);
    pairs[2 * half][q] = pair(grid.at[index_of(index, 0)], grid.at[index_of(index, 1)]);
    pairs[2 * half + 1][q] = pair(grid.at[index_of(index, 2)], grid.at[index_of(index, 3)]);
  };
  quarter(0, 0), quarter(1, 0), quarter(2, 0), quarter(3, 0);
  quarter(0, 1), quarter(1, 1), quarter(2, 1), quarter(3, 1);
  for (int i = 0; i < 4; ++i)
    codes[i] = Wide::quarters(pairs[i][0], pairs[i][1], pairs[i][2], pairs[i][3]);
}

// Entries of four values: four(0) to four(3) are the indices of quarter 0, and so on.
template <typename Wide, std::size_t kCount, typename Four>
HEARTH_INLINE void look_up(const Table<std::uint32_t, kCount>& grid, Four four, Wide (&codes)[4]) {
  const auto quarter = [&](int q, int i) {
    const auto index = four(4 * q + i);
    const auto entry = [&](int k) { return static_cast<int>(grid.at[index_of(index, k)]); };
    return _mm_setr_epi32(entry(0), entry(1), entry(2), entry(3));
  };
  const auto all = [&](int i) {
    return Wide::quarters(quarter(0, i), quarter(1, i), quarter(2, i), quarter(3, i));
  };
  codes[0] = all(0), codes[1] = all(1), codes[2] = all(2), codes[3] = all(3);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ2_XXS>, const std::uint8_t* at,
                           Wide (&codes)[4]) {
  look_up(kIq2XxsGrid, [at](int i) { return at + 2 + 8 * i; }, codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ2_XS>, const std::uint8_t* at,
                           Wide (&codes)[4]) {
  look_up(kIq2XsGrid, [at](int i) { return NineBits{at + 2 + 8 * i}; }, codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ2_S>, const std::uint8_t* at, Wide (&codes)[4]) {
  look_up(kIq2SGrid, [at](int i) { return longer_bytes<2>(at + 2 + 4 * i, at[66 + i]); }, codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ3_XXS>, const std::uint8_t* at,
                           Wide (&codes)[4]) {
  look_up(kIq3XxsGrid, [at](int i) { return at + 2 + 4 * i; }, codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ3_S>, const std::uint8_t* at, Wide (&codes)[4]) {
  look_up(
      kIq3SGrid,
      [at](int i) {
        const std::uint32_t high = at[66 + i / 2] >> (i % 2 * 4);
        return longer_bytes<1>(at + 2 + 4 * i, high);
      },
      codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ1_S>, const std::uint8_t* at, Wide (&codes)[4]) {
  look_up(
      kIq1Grid,
      [at](int i) {
        return longer_bytes<3>(at + 2 + 4 * i, load_as<std::uint16_t>(at + 34 + 2 * i));
      },
      codes);
}

template <typename Wide>
HEARTH_INLINE void look_up(Format<WeightFormat::kIQ1_M>, const std::uint8_t* at, Wide (&codes)[4]) {
  look_up(kIq1Grid, [at](int i) { return with_nibbles(at + 4 * i, at + 32 + 2 * i); }, codes);
}

}  // namespace loads
}  // namespace
}  // namespace hearth::kernels
