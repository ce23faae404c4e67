#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/quant/half.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kHalfUlp = 0x1p-24;  // the largest relative error of one rounding

constexpr std::uint32_t kSizes[] = {1,  2,  15, 16,  17,  31,  32,  33,   47,   48,
                                    64, 65, 96, 100, 127, 128, 255, 1000, 2048, 2051};

// Runs `operation(table, n, values)` on every set, which replaces `values` by its results, and
// compares them with those of the scalar set.
template <typename Operation>
void expect_same_on_every_set(Operation operation) {
  const CpuKernels& scalar = scalar_table();
  for (const std::uint32_t n : kSizes) {
    const std::vector<float> expected = operation(scalar, n);
    for (const CpuKernels& table : tuned_tables())
      EXPECT_EQ(bits_of(operation(table, n)), bits_of(expected)) << table.name << ", n = " << n;
  }
}

TEST(RmsNorm, MatchesItsFormula) {
  const CpuKernels& scalar = scalar_table();
  Random random(1);
  for (const std::uint32_t n : kSizes) {
    const std::vector<float> x = normal_floats(random, n, 3), weight = normal_floats(random, n);
    std::vector<float> y(n);
    scalar.rms_norm(x.data(), weight.data(), n, 1e-5f, y.data());
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double factor = 1 / std::sqrt(squares / n + static_cast<double>(1e-5f));
    // A sum of positive terms has at most the relative error of its longest chain: n / 16 fused
    // steps and 4 of the fold; the root halves it. Then division by n, + epsilon (halved too),
    // root, reciprocal and two products.
    const double bound = ((n / 16 + 1 + 4 + 2) / 2.0 + 4) * kHalfUlp * 1.01;
    for (std::uint32_t i = 0; i < n; ++i) {
      const double exact = x[i] * factor * weight[i];
      EXPECT_NEAR(y[i], exact, bound * std::abs(exact)) << n;
    }
  }
}

TEST(RmsNorm, IsTheSameOnEverySetAndInPlace) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    std::vector<float> x = normal_floats(random, n), weight = normal_floats(random, n);
    std::vector<float> y(n + 1, 7.0f);  // the last one must stay
    table.rms_norm(x.data(), weight.data(), n, 1e-6f, y.data());
    table.rms_norm(x.data(), weight.data(), n, 1e-6f, x.data());
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin()));
    return y;
  });
}

TEST(RopeHalves, RotatesPairsAndLeavesTheRest) {
  const CpuKernels& scalar = scalar_table();
  Random random(2);
  for (const std::uint32_t half : {1u, 7u, 16u, 24u, 32u, 64u}) {
    const std::vector<float> before = normal_floats(random, 2 * half + 3);
    std::vector<float> cosine(half), sine(half), x = before;
    for (std::uint32_t i = 0; i < half; ++i) {
      cosine[i] = static_cast<float>(std::cos(i * 0.7));
      sine[i] = static_cast<float>(std::sin(i * 0.7));
    }
    scalar.rope_halves(x.data(), cosine.data(), sine.data(), half);
    for (std::uint32_t i = 0; i < half; ++i) {
      const double a = before[i], b = before[i + half], c = cosine[i], s = sine[i];
      // Two roundings, each of a value no larger than |a| + |b|.
      const double bound = 2 * kHalfUlp * (std::abs(a) + std::abs(b));
      EXPECT_NEAR(x[i], a * c - b * s, bound);
      EXPECT_NEAR(x[i + half], a * s + b * c, bound);
    }
    for (std::uint32_t i = 2 * half; i < x.size(); ++i) EXPECT_EQ(x[i], before[i]);
  }
}

TEST(RopeHalves, IsTheSameOnEverySet) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    std::vector<float> x = normal_floats(random, 2 * n + 2);
    const std::vector<float> cosine = normal_floats(random, n), sine = normal_floats(random, n);
    table.rope_halves(x.data(), cosine.data(), sine.data(), n);
    return x;
  });
}

TEST(SiluMultiply, MatchesItsFormula) {
  const CpuKernels& scalar = scalar_table();
  Random random(3);
  const std::vector<float> gate = normal_floats(random, 4099, 8), up = normal_floats(random, 4099);
  std::vector<float> out(gate.size());
  scalar.silu_multiply(gate.data(), up.data(), 4099, out.data());
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double x = gate[i], exact = x / (1 + std::exp(-x)) * up[i];
    // exp within 2 ulp, that is 4 × kHalfUlp relative, then sum, division and product.
    EXPECT_NEAR(out[i], exact, 7.01 * kHalfUlp * std::abs(exact)) << "gate " << x;
  }
  const float far[] = {-200, 200, 0};
  const float ones[] = {1, 1, 1};
  float at_far[3];
  scalar.silu_multiply(far, ones, 3, at_far);
  EXPECT_EQ(at_far[0], 0.0f);
  EXPECT_EQ(at_far[1], 200.0f);
  EXPECT_EQ(at_far[2], 0.0f);
}

TEST(SiluMultiply, IsTheSameOnEverySet) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    std::vector<float> gate = normal_floats(random, n, 20), up = normal_floats(random, n);
    if (n > 20) gate[3] = kInfinity, gate[5] = -kInfinity, gate[7] = kNan, gate[8] = -0.0f;
    std::vector<float> out(n + 1, 7.0f);
    table.silu_multiply(gate.data(), up.data(), n, out.data());
    return out;
  });
}

TEST(RmsNorm, WithoutAWeightItIsOne) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    const std::vector<float> x = normal_floats(random, n), ones(n, 1.0f);
    std::vector<float> y(n), expected(n);
    table.rms_norm(x.data(), nullptr, n, 1e-6f, y.data());
    table.rms_norm(x.data(), ones.data(), n, 1e-6f, expected.data());
    EXPECT_EQ(bits_of(y), bits_of(expected));
    return y;
  });
}

// Pairs put apart are halves.
TEST(RopePairs, HasTheBitsOfRopeHalvesOnEverySet) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    std::vector<float> x = normal_floats(random, 2 * n + 2), halves = x;
    const std::vector<float> cosine = normal_floats(random, n), sine = normal_floats(random, n);
    for (std::uint32_t i = 0; i < n; ++i) {
      halves[i] = x[2 * i];
      halves[n + i] = x[2 * i + 1];
    }
    table.rope_pairs(x.data(), cosine.data(), sine.data(), n);
    table.rope_halves(halves.data(), cosine.data(), sine.data(), n);
    for (std::uint32_t i = 0; i < n; ++i) {
      EXPECT_EQ(x[2 * i], halves[i]);
      EXPECT_EQ(x[2 * i + 1], halves[n + i]);
    }
    EXPECT_EQ(x[2 * n], halves[2 * n]);
    EXPECT_EQ(x[2 * n + 1], halves[2 * n + 1]);
    return x;
  });
}

TEST(GeluMultiply, MatchesItsFormula) {
  Random random(6);
  const std::vector<float> gate = normal_floats(random, 4099, 4), up = normal_floats(random, 4099);
  std::vector<float> out(gate.size());
  scalar_table().gelu_multiply(gate.data(), up.data(), 4099, out.data());
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double x = gate[i], u = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
    const double exact = 0.5 * x * (1 + std::tanh(u)) * up[i];
    // Five roundings in 2u (two of them of constants) become, through exp, a relative error of 2u
    // times as much; then exp's own, sum, division, product. tanh by doubles loses the far left.
    const double bound = (5 * std::abs(2 * u) + 7) * kHalfUlp * 1.01;
    EXPECT_NEAR(out[i], exact, bound * std::abs(exact) + 1e-14) << "gate " << x;
  }
}

TEST(ClampedMultiply, MatchesItsFormula) {
  Random random(7);
  std::vector<float> gate = normal_floats(random, 4099, 6), up = normal_floats(random, 4099, 6);
  gate[0] = up[1] = up[2] = 1e6f;
  gate[3] = up[3] = -1e6f;
  std::vector<float> out(gate.size());
  scalar_table().clamped_multiply(gate.data(), up.data(), 4099, out.data());
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double g = std::min<double>(gate[i], 7), u = std::clamp<double>(up[i], -7, 7);
    const double exact = g / (1 + std::exp(-1.702 * g)) * (u + 1);
    // The exponent is rounded twice (the constant, the product), the sum u + 1 once.
    const double bound = (2 * std::abs(1.702 * g) + 8) * kHalfUlp * 1.01;
    EXPECT_NEAR(out[i], exact, bound * std::abs(exact)) << gate[i] << ", " << up[i];
  }
}

TEST(Sigmoid, MatchesItsFormula) {
  Random random(8);
  const std::vector<float> before = normal_floats(random, 4099, 9);
  std::vector<float> x = before;
  scalar_table().sigmoid(x.data(), 4099);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = 1 / (1 + std::exp(-static_cast<double>(before[i])));
    EXPECT_NEAR(x[i], exact, 6.01 * kHalfUlp * exact) << before[i];
  }
}

TEST(Softcap, MatchesItsFormula) {
  Random random(9);
  std::vector<float> before = normal_floats(random, 4099, 40);
  before[0] = 1e9f, before[1] = -1e9f;
  std::vector<float> x = before;
  scalar_table().softcap(x.data(), 4099, 30.0f);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double y = before[i] / 30.0, exact = 30 * std::tanh(y);
    // The quotient of 2 falls off as exp(-2y) for large y and is at most 2 at the other end, so its
    // error, 2y roundings through exp and five more, is absolute.
    const double quotient = 2 / (1 + std::exp(2 * y));
    const double bound = 30 * ((std::abs(2 * y) + 6) * quotient + 2) * kHalfUlp;
    EXPECT_NEAR(x[i], exact, bound) << before[i];
  }
  EXPECT_EQ(x[0], 30.0f);
  EXPECT_EQ(x[1], -30.0f);
}

TEST(Activations, AreTheSameOnEverySet) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    std::vector<float> gate = normal_floats(random, n, 20), up = normal_floats(random, n, 9);
    if (n > 20) gate[3] = kInfinity, gate[5] = -kInfinity, up[7] = kNan, gate[8] = -0.0f;
    std::vector<float> out(4 * (n + 1), 7.0f);
    table.gelu_multiply(gate.data(), up.data(), n, out.data());
    table.clamped_multiply(gate.data(), up.data(), n, out.data() + n + 1);
    std::copy(gate.begin(), gate.end(), out.begin() + 2 * (n + 1));
    table.sigmoid(out.data() + 2 * (n + 1), n);
    std::copy(up.begin(), up.end(), out.begin() + 3 * (n + 1));
    table.softcap(out.data() + 3 * (n + 1), n, 3.0f);
    return out;
  });
}

TEST(Softmax, MatchesItsFormula) {
  const CpuKernels& scalar = scalar_table();
  Random random(4);
  for (const std::uint32_t n : kSizes) {
    std::vector<float> x = normal_floats(random, n, 4);
    if (n > 2) x[n / 2] = -kInfinity;
    std::vector<double> exact(x.begin(), x.end());
    const double maximum = *std::max_element(exact.begin(), exact.end());
    double spread = 0;
    for (double& value : exact) {
      if (value > -1e30) spread = std::max(spread, maximum - value);
      value = std::exp(value - maximum);
    }
    const double sum = std::accumulate(exact.begin(), exact.end(), 0.0);
    scalar.softmax(x.data(), n);
    // x - max is rounded once, which exp turns into a relative error of its size; exp itself 4;
    // in the sum once more both, and the chain of n / 16 additions and 4 folds; one division.
    const double bound = (2 * (spread + 4) + n / 16 + 1 + 4 + 1) * kHalfUlp * 1.01;
    for (std::uint32_t i = 0; i < n; ++i)
      EXPECT_NEAR(x[i], exact[i] / sum, bound * exact[i] / sum) << "n = " << n;
    if (n > 2) {
      EXPECT_EQ(x[n / 2], 0.0f);
    }
  }
}

TEST(Softmax, IsTheSameOnEverySet) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    std::vector<float> x = normal_floats(random, n + 1, 30);
    if (n > 20) x[3] = x[n - 1] = -kInfinity;
    table.softmax(x.data(), n);
    return x;
  });
}

TEST(Softmax, ANanReachesEveryEntry) {
  for (const CpuKernels& table : all_tables()) {
    std::vector<float> x(40, 1.0f);
    x[35] = kNan;
    table.softmax(x.data(), 40);
    EXPECT_TRUE(std::all_of(x.begin(), x.end(), [](float v) { return std::isnan(v); }));
  }
}

TEST(ElementWise, MatchesTheirFormulas) {
  const CpuKernels& scalar = scalar_table();
  Random random(5);
  for (const std::uint32_t n : kSizes) {
    const std::vector<float> x = normal_floats(random, n), y = normal_floats(random, n);
    std::vector<float> sum = y, product = y, fused = y;
    scalar.add(x.data(), n, sum.data());
    scalar.scale(1.7f, n, product.data());
    scalar.add_scaled(x.data(), 1.7f, n, fused.data());
    for (std::uint32_t i = 0; i < n; ++i) {
      EXPECT_EQ(sum[i], y[i] + x[i]);
      EXPECT_EQ(product[i], y[i] * 1.7f);
      EXPECT_EQ(fused[i], std::fma(x[i], 1.7f, y[i]));
    }
  }
}

TEST(ElementWise, AreTheSameOnEverySet) {
  expect_same_on_every_set([](const CpuKernels& table, std::uint32_t n) {
    Random random(n);
    const std::vector<float> x = normal_floats(random, n);
    std::vector<float> y = normal_floats(random, n + 1);
    table.add(x.data(), n, y.data());
    table.scale(0.3f, n, y.data());
    table.add_scaled(x.data(), -2.3f, n, y.data());
    return y;
  });
}

TEST(HalfFloats, ComeBackFromF32) {
  for (std::uint32_t half = 0; half < 0x10000; ++half) {
    const float value = f32_of_f16(static_cast<std::uint16_t>(half));
    const std::uint32_t quiet = value != value ? 0x200 : 0;
    EXPECT_EQ(f16_of_f32(value), half | quiet);
  }
}

TEST(HalfFloats, RoundToNearestEven) {
  for (std::uint32_t half = 0; half < 0x7bff; ++half) {  // between each f16 and the next
    const float low = f32_of_f16(static_cast<std::uint16_t>(half));
    const float high = f32_of_f16(static_cast<std::uint16_t>(half + 1));
    const float middle = (low + high) / 2;  // exact: 12 bits
    ASSERT_EQ(f16_of_f32(middle), half + (half & 1));
    ASSERT_EQ(f16_of_f32(std::nextafter(middle, low)), half);
    ASSERT_EQ(f16_of_f32(std::nextafter(middle, high)), half + 1);
  }
  EXPECT_EQ(f16_of_f32(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(f16_of_f32(65520.0f), 0x7c00);
  EXPECT_EQ(f16_of_f32(-1e30f), 0xfc00);
  EXPECT_EQ(f16_of_f32(1e-30f), 0);
  EXPECT_EQ(f16_of_f32(-0.0f), 0x8000);
}

TEST(AllFinite, SeesOneBadValueAnywhere) {
  for (const CpuKernels& table : all_tables()) {
    for (const std::uint32_t n : {1u, 16u, 37u}) {
      std::vector<float> x(n, -std::numeric_limits<float>::max());
      EXPECT_TRUE(table.all_finite(x.data(), n));
      for (const float bad : {kInfinity, -kInfinity, kNan}) {
        for (std::uint32_t i = 0; i < n; ++i) {
          x[i] = bad;
          EXPECT_FALSE(table.all_finite(x.data(), n)) << table.name << " at " << i;
          x[i] = 0;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hearth::kernels
