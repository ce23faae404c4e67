// Half-precision numbers without hardware support.
#pragma once

#include <bit>
#include <cstdint>

namespace hearth::kernels {

inline float f32_of_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// Exact: every f16 is an f32. A signalling NaN becomes quiet, as in the conversion instruction.
inline float f32_of_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 31;
  const std::uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero or denormal: fraction × 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) {
    const std::uint32_t quiet = fraction != 0 ? 0x400000u : 0;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | (fraction << 13));
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

// To nearest, ties to even; from 65520 on infinity; a NaN becomes quiet and keeps the upper bits of
// its payload, as in hardware.
inline std::uint16_t f16_of_f32(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const auto signed_half = [sign](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };
  if (magnitude > 0x7f800000) return signed_half(0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000) return signed_half(0x7c00);
  if (magnitude < 0x38800000) {
    // The unit in the last place of 0.5 is the smallest denormal f16, so this addition rounds.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return signed_half(std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5f));
  }
  const std::uint32_t to_even = 0xfff + (magnitude >> 13 & 1);
  return signed_half(((magnitude + to_even) >> 13) - (112u << 10));
}

}  // namespace hearth::kernels
