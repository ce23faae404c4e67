// The twelve bytes of Q4_K and Q5_K that hold eight scales and eight minima of six bits.
//
//   bytes 0..3     low six bits: scales 0..3     high two bits: high bits of scales 4..7
//   bytes 4..7     low six bits: minima 0..3     high two bits: high bits of minima 4..7
//   bytes 8..11    low nibble: low four bits of scales 4..7, high nibble: of minima 4..7
#pragma once

#include <cstdint>

namespace hearth::kernels {

inline void unpack_six_bit_scales(const std::uint8_t* packed, std::int32_t* scales,
                                  std::int16_t* minima) {
  for (int i = 0; i < 4; ++i) {
    scales[i] = packed[i] & 63;
    minima[i] = packed[i + 4] & 63;
    scales[i + 4] = (packed[i + 8] & 15) | (packed[i] >> 6 << 4);
    minima[i + 4] = static_cast<std::int16_t>((packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4));
  }
}

}  // namespace hearth::kernels
