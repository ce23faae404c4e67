// Quantization and the norm before it: the bits of the scalar kernels.
#include <fmt/format.h>

#include <cfloat>
#include <limits>

#include "kernels/cpu_kernels.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

// A buffer of the host with the scalar kernel's answer.
struct Expected {
  Expected(const std::vector<float>& x, std::uint32_t rows, std::uint32_t columns)
      : memory(ActivationBuffer::bytes_needed(rows, columns).count / 64 + 1),
        buffer(std::as_writable_bytes(std::span(memory)), rows, columns) {
    buffer.set_shape(rows, columns);
    for (std::uint32_t row = 0; row < rows; ++row) {
      std::copy_n(&x[std::size_t{row} * columns], columns, buffer.values(row));
      scalar_table().quantize(buffer.values(row), columns, buffer.codes(row), buffer.scales(row),
                              buffer.sums(row));
    }
  }
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> memory;
  ActivationBuffer buffer;
};

// All of the rows up to their stride.
void expect_same_activations(const Activations& expected, const DeviceActivations& found,
                             const std::string& where) {
  const std::size_t values = std::size_t{expected.rows} * expected.stride;
  expect_same_bits({expected.values, values}, found.values.values(), where + ", values");
  expect_same_bits({expected.scales, values / 32}, found.scales.values(), where + ", scales");
  EXPECT_EQ(std::vector(expected.codes, expected.codes + values), found.codes.values()) << where;
  EXPECT_EQ(std::vector(expected.sums, expected.sums + values / 16), found.sums.values()) << where;
}

void expect_quantized(const std::vector<float>& x, std::uint32_t rows, std::uint32_t columns) {
  const Expected expected(x, rows, columns);
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<float> input(on, x);
    const DeviceActivations found(on, rows, columns);
    on.kernels->quantize({.x = input.data(), .x_stride = columns, .to = found.destination()},
                         on.stream->native());
    expect_same_activations(expected.buffer.view(), found,
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

TEST(GpuNormalize, GivesTheBitsOfScalar) {
  Random random(5);
  for (const std::uint32_t columns : {1u, 15u, 32u, 100u, 256u, 1000u, 2048u, 2080u, 5000u})
    for (const bool weighed : {true, false}) {
      constexpr std::uint32_t kRows = 3;
      const auto x = normal_floats(random, std::size_t{kRows} * columns, 3);
      const auto weight = normal_floats(random, columns);
      std::vector<float> normed(x.size());
      for (std::uint32_t row = 0; row < kRows; ++row)
        scalar_table().rms_norm(&x[std::size_t{row} * columns], weighed ? weight.data() : nullptr,
                                columns, 1e-5f, &normed[std::size_t{row} * columns]);
      const Expected expected(normed, kRows, columns);
      for (const TestDevice& on : test_devices()) {
        const DeviceArray<float> input(on, x), weights(on, weight);
        const DeviceActivations found(on, kRows, columns);
        on.kernels->normalize(
            {.quantize = {.x = input.data(), .x_stride = columns, .to = found.destination()},
             .weight = weighed ? weights.data() : nullptr,
             .epsilon = 1e-5f},
            on.stream->native());
        expect_same_activations(expected.buffer.view(), found,
                                fmt::format("{}: {} columns", on.name, columns));
      }
    }
}

}  // namespace
}  // namespace hearth::kernels
