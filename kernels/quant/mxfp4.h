// MXFP4: 32 values in 17 bytes, value = 2^(e - 128) × kDoubledE2m1[nibble].
//
//   0   1                               17
//   +---+-------------------------------+
//   | e | 16 bytes of nibbles           |   byte i: low nibble value i, high nibble value i + 16
//   +---+-------------------------------+
//    E8M0
// OCP Microscaling Formats 1.0. The table holds twice the E2M1 values, so that they are integers;
// the scale is halved in return. e = 255, NaN in that document, is 2^127 as in other readers of
// this format.
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

inline constexpr std::int8_t kDoubledE2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};

template <>
struct Codec<WeightFormat::kMXFP4> {
  struct Block {
    std::uint8_t exponent;
    std::uint8_t nibbles[16];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    for (int i = 0; i < 16; ++i) {
      out.codes[i] = kDoubledE2m1[block.nibbles[i] & 15];
      out.codes[i + 16] = kDoubledE2m1[block.nibbles[i] >> 4];
    }
    out.scales[0] = 1;
    out.minima[0] = 0;
    // 2^-128 and 2^-127 are denormal: fractions of one bit.
    out.d = std::bit_cast<float>(block.exponent < 2 ? 0x200000u << block.exponent
                                                    : (block.exponent - 1u) << 23);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
