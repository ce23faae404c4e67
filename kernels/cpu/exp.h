// The exponential of every kernel: one specified polynomial, the same bits on every instruction
// set, and within 2 ulp of exp(x).
//
//   x < -87.3                       0
//   x not below 88.7 (also NaN)     x + infinity
//   else  t = fma(x, log2(e), 1.5 × 2^23): adding this rounds to an integer, and leaves that
//             integer k in the low bits of t
//         r = fma(k, -low, fma(k, -high, x)), high + low = ln 2. The inner one is exact: high is
//             a multiple of 2^-24, and so is x wherever |k| > 1; for k = ±1 x lies within a factor
//             of two of high. So |r| <= ln(2) / 2 carries one rounding.
//         p = the Taylor polynomial of degree 7 in r by Horner's rule, fused. What it leaves out
//             is below r^8 / 8! = 5.2e-9, a tenth of an ulp.
//         result = p × 2^k, by adding k to the exponent. The limits keep it a normal number.
//
// Error in ulp of a result just below a power of two, the worst case: 0.5 for the last fma, 0.5 for
// the ones before it (each at most 2^-24 in a value that is multiplied by r), 0.35 for r, 0.1 for
// the terms left out: below 1.5.
#pragma once

#include <cstdint>

namespace hearth::kernels {

inline constexpr float kExpLowest = -87.3f;
inline constexpr float kExpLimit = 88.7f;

// p × 2^k, k being the integer in the low bits of t. `Lanes` is a 16-lane vector such as
// kernels/cpu/scalar/lanes.h.
template <typename Lanes>
struct PowerOfE {
  Lanes p, t;
};
template <typename Lanes>
[[gnu::always_inline]] inline PowerOfE<Lanes> power_of_e(Lanes x) {
  const auto all = [](float value) { return Lanes::broadcast(value); };
  const Lanes shift = all(0x1.8p23f);
  const Lanes t = fma(x, all(0x1.715476p0f), shift);
  const Lanes k = t - shift;
  const Lanes r = fma(k, all(0x1.05c61p-29f), fma(k, all(-0x1.62e43p-1f), x));
  Lanes p = all(1.0f / 5040);
  p = fma(p, r, all(1.0f / 720));
  p = fma(p, r, all(1.0f / 120));
  p = fma(p, r, all(1.0f / 24));
  p = fma(p, r, all(1.0f / 6));
  p = fma(p, r, all(1.0f / 2));
  p = fma(p, r, all(1.0f));
  p = fma(p, r, all(1.0f));
  return {p, t};
}

template <typename Lanes>
[[gnu::always_inline]] inline Lanes exponential(Lanes x) {
  const auto all = [](float value) { return Lanes::broadcast(value); };
  const PowerOfE<Lanes> power = power_of_e(x);
  const Lanes result =
      select_less(x, all(kExpLowest), all(0.0f), add_to_exponent(power.p, power.t));
  return select_less(x, all(kExpLimit), result, x + all(__builtin_inff()));
}

// The same of x that are at most 0, or NaN.
template <typename Lanes>
[[gnu::always_inline]] inline Lanes exponential_of_negative(Lanes x) {
  const auto all = [](float value) { return Lanes::broadcast(value); };
  const PowerOfE<Lanes> power = power_of_e(x);
  return select_less(x, all(kExpLowest), all(0.0f), times_power_of_two(power.p, power.t));
}

}  // namespace hearth::kernels
