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
  Quads low_nibbles() const {
    return of([this](int i) { return code[i] & 15; });
  }
  Quads high_nibbles() const {
    return of([this](int i) { return code[i] >> 4; });
  }
  // 16 more where bit `g` of the plane is set.
  Quads with_fifth(const Quads& plane, std::uint32_t g) const {
    return of([&](int i) { return code[i] | ((plane.code[i] >> g) & 1) << 4; });
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

  // Channel `i` of the four.
  template <typename Lanes, bool kSigned>
  Lanes channel(std::uint32_t i) const {
    return Lanes::of([&](int p) {
      const std::uint8_t value = code[4 * static_cast<std::uint32_t>(p) + i];
      return static_cast<float>(kSigned ? static_cast<std::int8_t>(value) : value);
    });
  }

  // 16 channels of one position.
  template <typename Lanes>
  static Lanes from_i8(const std::uint8_t* from) {
    return Lanes::of([=](int i) { return static_cast<float>(static_cast<std::int8_t>(from[i])); });
  }
  // Low nibbles of the 16 bytes are half 0, high ones half 1.
  static int nibble(const std::uint8_t* from, std::uint32_t half, int i) {
    return half == 0 ? from[i] & 15 : from[i] >> 4;
  }
  template <typename Lanes>
  static Lanes from_table(const std::uint8_t* from, std::uint32_t half,
                          const std::int8_t (&table)[16]) {
    return Lanes::of([&](int i) { return static_cast<float>(table[nibble(from, half, i)]); });
  }
  template <typename Lanes, bool kFifth>
  static Lanes from_nibbles(const std::uint8_t* from, std::uint32_t half, std::uint32_t fifth,
                            int offset) {
    return Lanes::of([=](int i) {
      const int high = kFifth ? static_cast<int>(fifth >> i & 1) << 4 : 0;
      return static_cast<float>((nibble(from, half, i) | high) - offset);
    });
  }
};

}  // namespace hearth::kernels::scalar
