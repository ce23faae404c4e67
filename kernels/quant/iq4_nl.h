// IQ4_NL: 32 values in 18 bytes, value = d × kIq4Values[nibble].
//
//   0   2                               18
//   +---+-------------------------------+
//   | d | 16 bytes of nibbles           |   byte i: low nibble value i, high nibble value i + 16
//   +---+-------------------------------+
//    f16
#pragma once

#include "kernels/quant/codec.h"

namespace hearth::kernels {

// Denser around zero, as weights are. Part of the formats IQ4_NL and IQ4_XS.
inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

template <>
struct Codec<WeightFormat::kIQ4_NL> {
  struct Block {
    std::uint16_t d;
    std::uint8_t nibbles[16];
  };
  static constexpr int kPart = 32;
  static constexpr bool kHasMinimum = false;

  static void decode(const Block& block, DecodedBlock<32, 32>& out) {
    for (int i = 0; i < 16; ++i) {
      out.codes[i] = kIq4Values[block.nibbles[i] & 15];
      out.codes[i + 16] = kIq4Values[block.nibbles[i] >> 4];
    }
    out.scales[0] = 1;
    out.minima[0] = 0;
    out.d = f32_of_f16(block.d);
    out.m = 0;
  }
};

}  // namespace hearth::kernels
