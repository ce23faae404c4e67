// The gates of a delta net: one specified arithmetic in double, the same bits on the host and on
// every device. No step is fused, and divisions are of doubles, which all of them round correctly.
//
//   exponential(x) = 2^k × the Taylor polynomial of degree 12 in r = x - k × ln 2, |r| <= ln(2) /
//   2:
//     what it leaves out is below 2^-52 of it
//   ln(1 + e) for e in [0, 1] = 2s × (1 + s²/3 + s⁴/5 + ... + s^30/31), s = e / (2 + e) <= 1/3:
//     what it leaves out is below 2^-55 of it
//   softplus(x) = ln(1 + exp(x)), of -|x| so that it neither overflows nor loses small ones
//   decay = exp(rate × softplus(alpha + bias)), strength = 1 / (1 + exp(-beta))
//
// An error of 2^-49 in an exponent of at most 104, beyond which the decay is no float, is one of
// 2^-42 in the decay; then it is rounded to f32, once. A sum that is not finite gives NaN or a
// limit, never a trap.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace hearth::kernels {

struct DeltaGates {
  float decay = 1;     // of what is remembered
  float strength = 0;  // of the correction
};

// 0 and infinity where no float could tell the result from them.
constexpr double gate_exponential(double x) {
  if (x < -700) return 0;
  if (x > 700) return std::numeric_limits<double>::infinity();
  if (!(x <= 700)) return x;           // NaN
  constexpr double kShift = 0x1.8p52;  // adding it rounds to an integer
  const double k = (x * 0x1.71547652b82fep0 + kShift) - kShift;
  // The first product is exact.
  const double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 1.0 / 2;
  p = p * r + 1;
  p = p * r + 1;
  const auto exponent = static_cast<std::uint64_t>(static_cast<std::int64_t>(k)) << 52;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(p) + exponent);
}

constexpr double gate_softplus(double x) {
  const double e = gate_exponential(x > 0 ? -x : x);
  const double s = e / (2 + e), square = s * s;
  double p = 1.0 / 31;
  for (int n = 29; n > 0; n -= 2) p = p * square + 1.0 / n;
  return (x > 0 ? x : 0) + 2 * s * p;
}

constexpr DeltaGates delta_gates(float alpha, float bias, float rate, float beta) {
  const double x = static_cast<double>(alpha) + static_cast<double>(bias);
  const double softplus = gate_softplus(x);
  const double power = gate_exponential(-static_cast<double>(beta));
  return {.decay = static_cast<float>(gate_exponential(static_cast<double>(rate) * softplus)),
          .strength = static_cast<float>(1 / (1 + power))};
}

}  // namespace hearth::kernels
