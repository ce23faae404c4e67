// The integer companion of the 16 lanes in attention over quantized keys and values: the meaning of
// every operation the other sets implement. A Quads is 64 codes, four for each lane: four channels
// of 16 positions of keys, four positions of 16 channels of values.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cpu/scalar/lanes.h"

namespace hearth::kernels::scalar {

struct Quads {
  // What plus_dot<true> adds to signed codes.
  static constexpr int kSignedOffset = 0;
  struct Sums {
    std::int32_t lane[16];
  };
  using Four = const std::int8_t*;
  using Pairs = const std::int32_t*;
  // 64 codes as numbers, for products with the 16-bit codes of weights.
  struct Words {
    std::int8_t code[64];

    // Adds to each lane its codes 0 and 2 times pairs[0], and its codes 1 and 3 times pairs[8].
    Sums plus_products(Sums sums, Pairs pairs) const {
      for (int i = 0; i < 64; ++i) {
        const std::int32_t pair = pairs[i % 2 * 8];
        sums.lane[i / 4] += code[i] * static_cast<std::int16_t>(i % 4 < 2 ? pair : pair >> 16);
      }
      return sums;
    }
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

  static Sums all(std::int32_t value) {
    Sums sums;
    for (std::int32_t& lane : sums.lane) lane = value;
    return sums;
  }
  // What codes are multiplied with, as all lanes take it.
  static Four four(const std::int8_t* from) { return from; }
  static Pairs pairs(const std::int32_t* from) { return from; }
  // Adds to each lane its four codes times `four`.
  template <bool kSigned>
  Sums plus_dot(Sums sums, Four four) const {
    for (int i = 0; i < 64; ++i) {
      const int value = kSigned ? static_cast<std::int8_t>(code[i]) : code[i];
      sums.lane[i / 4] += value * four[i % 4];
    }
    return sums;
  }
  template <typename Lanes>
  static Lanes as_floats(const Sums& sums) {
    return Lanes::of([&](int i) { return static_cast<float>(sums.lane[i]); });
  }

  // The codes, signed or not, less an offset.
  template <bool kSigned>
  Words words(int offset) const {
    Words result;
    for (int i = 0; i < 64; ++i) result.code[i] = static_cast<std::int8_t>(code[i] - offset);
    return result;
  }
  // Rounds 32 values to even, and makes those of lane i the low and the high half of to[i]. A NaN
  // becomes any code.
  template <typename Lanes>
  static void store_pairs(const Lanes& low, const Lanes& high, std::int32_t* to) {
    for (int i = 0; i < 16; ++i)
      to[i] = static_cast<std::int32_t>((word(low.lane[i]) & 0xffffu) | word(high.lane[i]) << 16);
  }

  // Channel `i` of the four.
  template <typename Lanes, bool kSigned>
  Lanes channel(std::uint32_t i) const {
    return Lanes::of([&](int p) {
      const std::uint8_t value = code[4 * static_cast<std::uint32_t>(p) + i];
      return static_cast<float>(kSigned ? static_cast<std::int8_t>(value) : value);
    });
  }

 private:
  static std::uint32_t word(float value) {
    return value == value ? static_cast<std::uint32_t>(std::lrint(value)) : 0;
  }
};

}  // namespace hearth::kernels::scalar
