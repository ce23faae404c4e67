// 256 weights of one row in registers, the form in which every block format meets the activations.
//
// Codes are unsigned bytes (the signed code plus kOffset) so that the byte products of x86 take
// them; the offset is taken off again, exactly, with the sums of the activation codes. Formats
// whose codes need all eight bits stay signed (kSigned), and each set treats them its own way.
//
// A Wide is 64 bytes, four quarters of 16. The 16-value halves of blocks 0..7 lie in `codes` as
//
//               quarter 0  quarter 1  quarter 2  quarter 3
//   codes[0]      b0 h0      b2 h0      b4 h0      b6 h0
//   codes[1]      b0 h1      b2 h1      b4 h1      b6 h1
//   codes[2]      b1 h0      b3 h0      b5 h0      b7 h0
//   codes[3]      b1 h1      b3 h1      b5 h1      b7 h1
//
// so that summing a block needs no step across quarters, and the nibbles of all formats come to lie
// there with at most one shuffle each.
//
// All that follows is included by one source for each instruction set, after it has defined its
// Wide in an unnamed namespace: code that such sources shared could be kept once by the linker,
// with instructions the processor lacks. For the same reason nothing of std is called here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/arithmetic.h"
#include "kernels/quant/codecs.h"

#define HEARTH_INLINE [[gnu::always_inline]] inline

namespace hearth::kernels {

inline constexpr std::uint32_t kTileValues = 256;
inline constexpr std::uint32_t kTileBlocks = kTileValues / kActivationBlock;

template <WeightFormat format>
struct Operand {
  static constexpr std::uint32_t kBlockBytes = sizeof(typename Codec<format>::Block);
  static constexpr std::uint32_t kBlockValues = traits(format).values_per_block;
  static constexpr std::uint32_t kTileBytes = kTileValues / kBlockValues * kBlockBytes;
  static constexpr bool kHalfScales = Codec<format>::kPart == 16;  // an integer scale per 16
  static constexpr bool kHasScales = Codec<format>::kPart < kBlockValues;  // integer scales at all
  // Scales whose products with dot products want f32, exact there.
  static constexpr bool kLargeScales = format == WeightFormat::kNVFP4;
  static constexpr bool kHasGrid = WeightFormat::kIQ1_S <= format && format <= WeightFormat::kIQ3_S;
  static constexpr bool kHasMinimum = Codec<format>::kHasMinimum;
  static constexpr bool kSigned =
      format == WeightFormat::kQ8_0 ||
      (WeightFormat::kIQ1_S <= format && format <= WeightFormat::kIQ4_XS);
  static constexpr int kOffset = format == WeightFormat::kQ4_0    ? 8
                                 : format == WeightFormat::kQ5_0  ? 16
                                 : format == WeightFormat::kQ3_K  ? 4
                                 : format == WeightFormat::kQ6_K  ? 32
                                 : format == WeightFormat::kMXFP4 ? 12
                                 : format == WeightFormat::kNVFP4 ? 12
                                                                  : 0;
};

template <typename Wide>
struct Tile {
  Wide codes[4];
  Wide half_scales;  // int32 (f32 where kLargeScales) for each 16 values, kHalfScales
  __m256i scales;    // int32 for each block, other formats with integer scales
  __m256i minima;    // int16 for each 16 values (twice the same where the part is 32)
  __m256 d;          // for each block
  __m256 m;
};

namespace {

// fold8 of kernels/arithmetic.h.
HEARTH_INLINE float fold(__m256 acc) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(acc), _mm256_extractf128_ps(acc, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace hearth::kernels
