// The 16-lane vector of the scalar set: the meaning of every operation the others implement.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cpu/lanes.h"
#include "kernels/quant/half.h"

namespace hearth::kernels::scalar {

struct F32x16 {
  static constexpr std::uint32_t kGroup = 1;  // queries of attention in registers at once

  float lane[16];

  // The vector whose lane i is f(i).
  template <typename Function>
  static F32x16 of(Function f) {
    F32x16 result;
    for (int i = 0; i < 16; ++i) result.lane[i] = f(i);
    return result;
  }

  static F32x16 broadcast(float value) {
    return of([=](int) { return value; });
  }
  static F32x16 load(const float* from, Whole) {
    return of([=](int i) { return from[i]; });
  }
  // The lanes that are not in memory are `fill`.
  static F32x16 load(const float* from, Part part, float fill = 0) {
    return of([=](int i) { return static_cast<std::uint32_t>(i) < part.count ? from[i] : fill; });
  }
  static F32x16 load_f16(const std::uint16_t* from) {
    return of([=](int i) { return f32_of_f16(from[i]); });
  }
  static F32x16 load_bf16(const std::uint16_t* from) {
    return of([=](int i) { return std::bit_cast<float>(std::uint32_t{from[i]} << 16); });
  }

  void store(float* to, Whole) const { store(to, Part{16}); }
  void store(float* to, Part part) const {
    for (std::uint32_t i = 0; i < part.count; ++i) to[i] = lane[i];
  }

  // These in the first `count` lanes, `others` in the rest.
  F32x16 first_of(std::uint32_t count, const F32x16& others) const {
    return of(
        [&](int i) { return static_cast<std::uint32_t>(i) < count ? lane[i] : others.lane[i]; });
  }

  float first() const { return lane[0]; }

  // Without its sign.
  F32x16 magnitude() const {
    return of([this](int i) {
      return std::bit_cast<float>(std::bit_cast<std::uint32_t>(lane[i]) & 0x7fffffffu);
    });
  }

  // All lanes made one by the tree of fold16 (kernels/arithmetic.h): halves, quarters, pairs.
  template <typename Operation>
  float folded(Operation operation) const {
    F32x16 x = *this;
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) x.lane[i] = operation(x.lane[i], x.lane[i + half]);
    return x.lane[0];
  }
  float sum() const {
    return folded([](float a, float b) { return a + b; });
  }
  float largest() const {
    return folded([](float a, float b) { return a > b ? a : b; });
  }
};

// Lane i is rows[i].sum(), or largest(); which value those beyond n have is not specified.
template <std::uint32_t n>
F32x16 sums_of(const F32x16 (&rows)[n]) {
  return F32x16::of([&](std::uint32_t i) { return i < n ? rows[i].sum() : 0; });
}
template <std::uint32_t n>
F32x16 largest_of(const F32x16 (&rows)[n]) {
  return F32x16::of([&](std::uint32_t i) { return i < n ? rows[i].largest() : 0; });
}

inline F32x16 operator+(const F32x16& a, const F32x16& b) {
  return F32x16::of([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F32x16 operator-(const F32x16& a, const F32x16& b) {
  return F32x16::of([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F32x16 operator*(const F32x16& a, const F32x16& b) {
  return F32x16::of([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F32x16 operator/(const F32x16& a, const F32x16& b) {
  return F32x16::of([&](int i) { return a.lane[i] / b.lane[i]; });
}

// a × b + c, rounded once.
inline F32x16 fma(const F32x16& a, const F32x16& b, const F32x16& c) {
  return F32x16::of([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}

// b where the two are equal or one is NaN.
inline F32x16 larger(const F32x16& a, const F32x16& b) {
  return F32x16::of([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}

// `no` where a or b is NaN.
inline F32x16 select_less(const F32x16& a, const F32x16& b, const F32x16& yes, const F32x16& no) {
  return F32x16::of([&](int i) { return a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i]; });
}

// Lane i of vector k becomes lane k of vector i.
inline void transpose(F32x16 (&rows)[16]) {
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < i; ++k) {
      const float above = rows[k].lane[i];
      rows[k].lane[i] = rows[i].lane[k];
      rows[i].lane[k] = above;
    }
}

// Adds the low nine bits of k, read as an integer, to sign and exponent of x.
inline F32x16 add_to_exponent(const F32x16& x, const F32x16& k) {
  return F32x16::of([&](int i) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x.lane[i]) +
                                (std::bit_cast<std::uint32_t>(k.lane[i]) << 23));
  });
}

// x × 2^k, k from -126 to 127 being the integer in the low bits of t = k + 1.5 × 2^23. A NaN of x
// stays one.
inline F32x16 times_power_of_two(const F32x16& x, const F32x16& t) {
  return F32x16::of([&](int i) {
    const std::uint32_t power = (std::bit_cast<std::uint32_t>(t.lane[i]) << 23) + 0x3f800000;
    return x.lane[i] * std::bit_cast<float>(power);
  });
}

}  // namespace hearth::kernels::scalar
