#include "kernels/cpu/exp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/scalar/lanes.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

float exponential_of(float x) { return exponential(scalar::F32x16::broadcast(x)).first(); }

// Distance in units of the last place of the f32 nearest to `exact`.
double ulp_error(float got, double exact) {
  const auto nearest = static_cast<float>(exact);
  const float next = std::nextafter(nearest, 0.0f);
  return std::abs(got - exact) / (static_cast<double>(nearest) - next);
}

TEST(Exponential, IsWithinTwoUlpOverTheWholeRange) {
  double worst = 0;
  float worst_at = 0;
  const auto visit = [&](float x) {
    const double error = ulp_error(exponential_of(x), std::exp(static_cast<double>(x)));
    if (error > worst) worst = error, worst_at = x;
  };
  for (std::uint32_t i = 0; i < 1'500'000; ++i)  // evenly over [-87.3, 88.7)
    visit(kExpLowest + static_cast<float>(i * (175.99 / 1.5e6)));
  for (std::uint32_t bits = 0x2f000000; bits < 0x42b00000; bits += 409) {  // evenly over exponents
    visit(std::bit_cast<float>(bits));
    if (bits < 0x42ae0000) visit(-std::bit_cast<float>(bits));
  }
  EXPECT_LE(worst, 2.0) << "at " << worst_at;  // derived in kernels/cpu/exp.h
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(Exponential, HasTheStatedLimits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exponential_of(0.0f), 1.0f);
  EXPECT_EQ(exponential_of(-0.0f), 1.0f);
  EXPECT_EQ(exponential_of(-kInfinity), 0.0f);
  EXPECT_EQ(exponential_of(-1e30f), 0.0f);
  EXPECT_EQ(exponential_of(std::nextafter(kExpLowest, -kInfinity)), 0.0f);
  EXPECT_GE(exponential_of(kExpLowest), std::numeric_limits<float>::min());  // never a denormal
  EXPECT_LT(exponential_of(std::nextafter(kExpLimit, 0.0f)), kInfinity);
  EXPECT_EQ(exponential_of(kExpLimit), kInfinity);
  EXPECT_EQ(exponential_of(1e30f), kInfinity);
  EXPECT_EQ(exponential_of(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(exponential_of(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Exponential, OfNegativesIsTheSame) {
  for (std::uint64_t bits = 1ull << 31; bits < (1ull << 32); bits += 1'009) {  // NaNs, too
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(bits)),
                expected = exponential_of(x),
                got = exponential_of_negative(scalar::F32x16::broadcast(x)).first();
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(got)) << x;
    else
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected)) << x;
  }
  EXPECT_EQ(exponential_of_negative(scalar::F32x16::broadcast(0)).first(), 1.0f);
}

// silu(-x) × 1 is -x / (1 + exp(x)): every bit of exp(x) near 1 and of its exponent shows in it.
TEST(Exponential, IsTheSameOnEverySet) {
  const CpuKernels& scalar = scalar_table();
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (1ull << 32); bits += 65'521)  // all exponents, specials too
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (int i = -9000; i < 9000; ++i) x.push_back(static_cast<float>(i) * 0.01f);
  const std::vector<float> ones(x.size(), 1.0f);
  std::vector<float> expected(x.size()), got(x.size());
  const auto n = static_cast<std::uint32_t>(x.size());
  scalar.silu_multiply(x.data(), ones.data(), n, expected.data());
  for (const CpuKernels& table : tuned_tables()) {
    table.silu_multiply(x.data(), ones.data(), n, got.data());
    EXPECT_EQ(bits_of(got), bits_of(expected)) << table.name;
  }
}

// A softmax whose largest element is 0 divides the exponentials of all elements by one number.
TEST(Exponential, OfNegativesIsTheSameOnEverySet) {
  std::vector<float> x{0};
  for (std::uint64_t bits = 1ull << 31; bits < 0xff800001; bits += 65'521)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (int i = 0; i < 9000; ++i) x.push_back(static_cast<float>(i) * -0.01f);
  const auto n = static_cast<std::uint32_t>(x.size());
  std::vector<float> expected = x;
  scalar_table().softmax(expected.data(), n);
  EXPECT_GT(expected[0], 0);
  for (const CpuKernels& table : tuned_tables()) {
    std::vector<float> got = x;
    table.softmax(got.data(), n);
    EXPECT_EQ(bits_of(got), bits_of(expected)) << table.name;
  }
}

}  // namespace
}  // namespace hearth::kernels
