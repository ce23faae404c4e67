// What unpacking the i-quants with code books and finding their entries have in common.
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

}  // namespace
}  // namespace hearth::kernels
