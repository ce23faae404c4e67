// The integer companion of the 16 lanes in attention over quantized keys and values: the meaning of
// every operation the other sets implement. A Quads is 64 codes: four channels of 16 positions.
#pragma once

#include <cstdint>

#include "kernels/cpu/scalar/lanes.h"

namespace hearth::kernels::scalar {

struct Quads {
  // What plus_dot<true> adds to signed codes; as_floats() takes it off again.
  static constexpr int kSignedOffset = 0;
  struct Sums {
    std::int32_t lane[16];
  };

  std::uint8_t code[64];

  template <typename Function>
  static Quads of(Function f) {
    Quads result;
    for (int i = 0; i < 64; ++i) result.code[i] = static_cast<std::uint8_t>(f(i));
    return result;
  }

  static Quads load(const std::uint8_t* from) {
    return of([=](int i) { return from[i]; });
  }
  // The codes of `bits` bits that begin at bit `shift` of each byte.
  template <std::uint32_t shift, std::uint32_t bits>
  Quads field() const {
    return of([this](int i) { return code[i] >> shift & ((1 << bits) - 1); });
  }
  // These codes, with such a field of a plane as their bits from `to` on.
  template <std::uint32_t shift, std::uint32_t bits, std::uint32_t to>
  Quads with_field(const Quads& plane) const {
    const Quads high = plane.field<shift, bits>();
    return of([&](int i) { return code[i] | high.code[i] << to; });
  }
  Quads looked_up(const std::int8_t (&table)[16]) const {
    return of([&](int i) { return table[code[i]]; });
  }

  static Sums zero() { return {}; }
  // Adds to each position its four codes times `four`.
  template <bool kSigned>
  Sums plus_dot(Sums sums, const std::int8_t* four) const {
    for (int i = 0; i < 64; ++i) {
      const int value = kSigned ? static_cast<std::int8_t>(code[i]) : code[i];
      sums.lane[i / 4] += value * four[i % 4];
    }
    return sums;
  }
  template <typename Lanes>
  static Lanes as_floats(const Sums& sums, int above) {
    return Lanes::of([&](int i) { return static_cast<float>(sums.lane[i] - above); });
  }
};

// Codes of 16 channels of one position.
struct Sixteen {
  static constexpr bool kLooksUpNibbles = false;

  std::uint8_t code[16];

  template <typename Function>
  static Sixteen of(Function f) {
    Sixteen result;
    for (int i = 0; i < 16; ++i) result.code[i] = static_cast<std::uint8_t>(f(i));
    return result;
  }

  // Of the 32 channels whose plane of `bits` bits is in memory: the first 16, or the others.
  template <std::uint32_t bits>
  static Sixteen load(const std::uint8_t* from, std::uint32_t half) {
    const int first = static_cast<int>(half * 16);
    constexpr int kBytes = 4 * bits;
    if constexpr (bits == 1)
      return of([=](int i) { return from[(first + i) / 8] >> i % 8 & 1; });
    else
      return of([=](int i) {
        const int shift = (first + i) / kBytes * static_cast<int>(bits);
        return from[(first + i) % kBytes] >> shift & ((1 << bits) - 1);
      });
  }
  // These codes, with those of a plane as their bits from `to` on.
  template <std::uint32_t bits, std::uint32_t to>
  Sixteen with_plane(const std::uint8_t* from, std::uint32_t half) const {
    const Sixteen high = load<bits>(from, half);
    return of([&](int i) { return code[i] | high.code[i] << to; });
  }
  Sixteen looked_up(const std::int8_t (&table)[16]) const {
    return of([&](int i) { return table[code[i]]; });
  }
  Sixteen minus(int offset) const {
    return of([&](int i) { return code[i] - offset; });
  }
  // As two's complement.
  template <typename Lanes>
  Lanes as_floats() const {
    return Lanes::of(
        [this](int i) { return static_cast<float>(static_cast<std::int8_t>(code[i])); });
  }
};

}  // namespace hearth::kernels::scalar
