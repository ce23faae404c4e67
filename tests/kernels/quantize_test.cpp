// The 8-bit form of activations.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>

#include "tests/kernels/support/matrices.h"

namespace hearth::kernels {
namespace {

struct Quantized {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
  std::vector<std::int16_t> sums;
};

Quantized quantize(const CpuKernels& table, const std::vector<float>& x) {
  const std::size_t blocks = (x.size() + 31) / 32;
  Quantized q{std::vector<std::int8_t>(blocks * 32, 99), std::vector<float>(blocks, -1),
              std::vector<std::int16_t>(blocks * 2, 99)};
  table.quantize(x.data(), static_cast<std::uint32_t>(x.size()), q.codes.data(), q.scales.data(),
                 q.sums.data());
  return q;
}

class Quantize : public testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    if (GetParam() >= matmul_tables().size()) GTEST_SKIP() << "not supported by this CPU";
  }
  const CpuKernels& table() const { return matmul_tables()[GetParam()]; }
};

// The quotient x / scale rounds by at most 2^-24 × 127.5 < 2^-16 and then to the nearest integer.
TEST_P(Quantize, CodesAreTheNearest) {
  Random random(1);
  std::vector<float> x(4096);
  for (float& v : x)
    v = static_cast<float>(random.normal() * std::ldexp(1, -20 + 40 * (&v - &x[0]) / 4096));
  const Quantized q = quantize(table(), x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double scale = q.scales[i / 32];
    ASSERT_NEAR(q.codes[i] * scale, x[i], scale * (0.5 + 0x1p-16)) << i;
  }
  for (std::size_t part = 0; part < q.sums.size(); ++part) {
    int sum = 0;
    for (std::size_t i = 0; i < 16; ++i) sum += q.codes[part * 16 + i];
    ASSERT_EQ(q.sums[part], sum) << part;
  }
}

TEST_P(Quantize, TiesGoToTheEvenCode) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127;  // the scale is 1
  for (int i = 1; i < 32; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i) - 16.5f;
  const Quantized q = quantize(table(), x);
  ASSERT_EQ(q.scales[0], 1.0f);
  for (int i = 1; i < 32; ++i) {
    const int below = static_cast<int>(std::floor(static_cast<double>(i) - 16.5));
    EXPECT_EQ(q.codes[static_cast<std::size_t>(i)], below % 2 == 0 ? below : below + 1) << i;
  }
}

TEST_P(Quantize, AValueThatIsNotFiniteMakesItsBlockNaN) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
        std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
    for (std::size_t place = 0; place < 32; ++place) {
      std::vector<float> x(96, 1.0f);
      x[32 + place] = bad;
      const Quantized q = quantize(table(), x);
      EXPECT_TRUE(std::isnan(q.scales[1])) << place;
      EXPECT_EQ(q.sums[2], 0);
      EXPECT_EQ(q.sums[3], 0);
      for (std::size_t i = 32; i < 64; ++i) ASSERT_EQ(q.codes[i], 0);
      EXPECT_EQ(q.scales[0], q.scales[2]);
      EXPECT_EQ(q.codes[0], 127);
      EXPECT_EQ(q.codes[95], 127);
    }
}

TEST_P(Quantize, ABlockWithoutANormalScaleIsZero) {
  for (const float tiny : {0.0f, -0.0f, FLT_TRUE_MIN, FLT_MIN, -126.9f * FLT_MIN}) {
    const Quantized q = quantize(table(), std::vector<float>(32, tiny));
    EXPECT_EQ(q.scales[0], 0) << tiny;
    EXPECT_FALSE(std::signbit(q.scales[0]));
    for (const int code : q.codes) ASSERT_EQ(code, 0);
    EXPECT_EQ(q.sums[0], 0);
  }
  const Quantized q = quantize(table(), std::vector<float>(32, 127 * FLT_MIN));
  EXPECT_EQ(q.scales[0], FLT_MIN);
  EXPECT_EQ(q.codes[31], 127);
}

TEST_P(Quantize, TheLargestFloatsStayInRange) {
  std::vector<float> x(32, FLT_MAX);
  for (std::size_t i = 0; i < 32; i += 2) x[i] = -FLT_MAX;
  const Quantized q = quantize(table(), x);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(q.codes[i], i % 2 == 0 ? -127 : 127);
}

TEST_P(Quantize, EveryLengthGivesTheBitsOfScalar) {
  Random random(2);
  for (std::uint32_t n = 0; n <= 300; ++n) {
    std::vector<float> x(n);
    for (float& v : x) v = static_cast<float>(random.normal());
    const Quantized expected = quantize(matmul_tables()[0], x), q = quantize(table(), x);
    ASSERT_EQ(q.codes, expected.codes) << n;
    ASSERT_EQ(q.scales, expected.scales) << n;
    ASSERT_EQ(q.sums, expected.sums) << n;
    for (std::size_t i = n; i < q.codes.size(); ++i) ASSERT_EQ(q.codes[i], 0) << n;
  }
}

std::string name_of_set(const testing::TestParamInfo<std::size_t>& info) {
  constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};
  return kNames[info.param];
}

INSTANTIATE_TEST_SUITE_P(All, Quantize, testing::Values(0, 1, 2), name_of_set);

}  // namespace
}  // namespace hearth::kernels
