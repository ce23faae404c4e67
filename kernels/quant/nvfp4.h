// NVFP4: 64 values in 36 bytes, value = 2^-10 × scale × kDoubledE2m1[nibble], parts of 16.
//
//   0       4                                                              36
//   +-------+--------------------------------------------------------------+
//   | s × 4 | 4 parts of 8 bytes of nibbles                                |
//   +-------+--------------------------------------------------------------+
//    UE4M3
// Byte i of a part: low nibble value i, high nibble value i + 8. UE4M3 is the OCP 8-bit float E4M3
// without its sign, whose bit is not looked at; 0x7f, NaN in that document, is 0 as in other
// readers of this format. Every UE4M3 is a multiple of 2^-9, so that in units of that the scale is
// an integer of up to 15 × 2^14. The tenth factor of 2 belongs to the doubled table.
#pragma once

#include "kernels/quant/codec.h"
#include "kernels/quant/mxfp4.h"

namespace hearth::kernels {

template <>
struct Codec<WeightFormat::kNVFP4> {
  struct Block {
    std::uint8_t scales[4];
    std::uint8_t nibbles[32];
  };
  static constexpr int kPart = 16;
  static constexpr bool kHasMinimum = false;

  static std::int32_t scale_of(std::uint8_t bits) {
    if (bits == 0x7f) return 0;
    const int exponent = (bits >> 3) & 15, fraction = bits & 7;
    return exponent == 0 ? fraction : (8 + fraction) << (exponent - 1);
  }

  static void decode(const Block& block, DecodedBlock<64, 16>& out) {
    for (int part = 0; part < 4; ++part) {
      for (int i = 0; i < 8; ++i) {
        const std::uint8_t byte = block.nibbles[8 * part + i];
        out.codes[16 * part + i] = kDoubledE2m1[byte & 15];
        out.codes[16 * part + i + 8] = kDoubledE2m1[byte >> 4];
      }
      out.scales[part] = scale_of(block.scales[part]);
      out.minima[part] = 0;
    }
    out.d = 0x1p-10f;
    out.m = 0;
  }
};

}  // namespace hearth::kernels
