// Quantization: the bits of the scalar kernels.
#include <fmt/format.h>

#include <cfloat>
#include <limits>

#include "kernels/cpu_kernels.h"
#include "tests/gpu/support/expected_activations.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

void expect_quantized(const std::vector<float>& x, std::uint32_t rows, std::uint32_t columns) {
  const ExpectedActivations expected(x, rows, columns);
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<float> input(on, x);
    const DeviceActivations found(on, rows, columns);
    on.kernels->quantize({.x = input.data(), .x_stride = columns, .to = found.destination()},
                         on.stream->native());
    expect_same_activations(expected.view(), found,
                            fmt::format("{}: {} x {}", on.name, rows, columns));
  }
}

TEST(GpuQuantize, EveryLengthGivesTheBitsOfScalar) {
  Random random(2);
  for (std::uint32_t columns = 1; columns <= 300; columns += columns < 70 ? 1 : 23)
    expect_quantized(normal_floats(random, 2 * std::size_t{columns}), 2, columns);
  expect_quantized(normal_floats(random, 3000), 1, 3000);  // more than a block of threads
}

TEST(GpuQuantize, ExtremesGiveTheBitsOfScalar) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float special : {0.0f, -0.0f, FLT_TRUE_MIN, FLT_MIN, -126.9f * FLT_MIN, 127 * FLT_MIN,
                              FLT_MAX, -FLT_MAX, kInfinity, -kInfinity, nan, -nan}) {
    std::vector<float> x(96, 1.0f);
    x[40] = special;  // among others
    std::fill(x.begin() + 64, x.end(), special);
    expect_quantized(x, 1, 96);
  }
  std::vector<float> ties(32, 127.0f);  // the scale is 1
  for (std::size_t i = 1; i < 32; ++i) ties[i] = static_cast<float>(i) - 16.5f;
  expect_quantized(ties, 1, 32);
}

// The first channels of each head as a row of its own, as latent attention multiplies them.
TEST(GpuQuantize, HeadsOfRows) {
  Random random(4);
  constexpr std::uint32_t kRows = 3, kHeads = 5, kColumns = 40, kHeadStride = 50, kStride = 260;
  const auto x = normal_floats(random, kRows * kStride);
  std::vector<float> heads;
  for (std::uint32_t row = 0; row < kRows; ++row)
    for (std::uint32_t head = 0; head < kHeads; ++head) {
      const auto begin = x.begin() + row * kStride + head * kHeadStride;
      heads.insert(heads.end(), begin, begin + kColumns);
    }
  const ExpectedActivations expected(heads, kRows * kHeads, kColumns);
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<float> input(on, x);
    const DeviceActivations found(on, kRows * kHeads, kColumns);
    on.kernels->quantize({.x = input.data(),
                          .x_stride = kStride,
                          .heads = kHeads,
                          .head_stride = kHeadStride,
                          .to = found.destination()},
                         on.stream->native());
    expect_same_activations(expected.view(), found, on.name);
  }
}

TEST(GpuQuantize, ValuesAloneAreAnyRowsOfFloats) {
  Random random(3);
  constexpr std::uint32_t kRows = 2, kColumns = 37, kStride = 41;
  const auto x = normal_floats(random, kRows * kColumns);
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<float> input(on, x);
    const DeviceArray<float> found(on, std::vector<float>(kRows * kStride, 7.0f));
    on.kernels->quantize(
        {.x = input.data(),
         .x_stride = kColumns,
         .to = {.rows = kRows, .columns = kColumns, .stride = kStride, .values = found.data()}},
        on.stream->native());
    std::vector<float> expected(kRows * kStride, 7.0f);
    for (std::uint32_t row = 0; row < kRows; ++row)
      std::copy_n(&x[std::size_t{row} * kColumns], kColumns, &expected[std::size_t{row} * kStride]);
    expect_same_bits(expected, found.values(), on.name);
  }
}

}  // namespace
}  // namespace hearth::kernels
