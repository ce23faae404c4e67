#include "tests/gpu/support/expected_activations.h"

#include <algorithm>

#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {

ExpectedActivations::ExpectedActivations(const std::vector<float>& x, std::uint32_t rows,
                                         std::uint32_t columns)
    : memory_(ActivationBuffer::bytes_needed(rows, columns).count / 64 + 1),
      buffer_(std::as_writable_bytes(std::span(memory_)), rows, columns) {
  buffer_.set_shape(rows, columns);
  for (std::uint32_t row = 0; row < rows; ++row) {
    std::copy_n(&x[std::size_t{row} * columns], columns, buffer_.values(row));
    scalar_table().quantize(buffer_.values(row), columns, buffer_.codes(row), buffer_.scales(row),
                            buffer_.sums(row));
  }
}

void expect_same_activations(const Activations& expected, const DeviceActivations& found,
                             const std::string& where) {
  const std::size_t values = std::size_t{expected.rows} * expected.stride;
  expect_same_bits({expected.values, values}, found.values.values(), where + ", values");
  expect_same_bits({expected.scales, values / 32}, found.scales.values(), where + ", scales");
  EXPECT_EQ(std::vector(expected.codes, expected.codes + values), found.codes.values()) << where;
  EXPECT_EQ(std::vector(expected.sums, expected.sums + values / 16), found.sums.values()) << where;
}

}  // namespace hearth::kernels
