#include "kernels/activations.h"

#include <cstring>

#include "base/check.h"

namespace hearth::kernels {
namespace {

std::uint32_t padded(std::uint32_t columns) {
  return static_cast<std::uint32_t>(round_up(columns, kActivationPadding));
}

}  // namespace

Bytes ActivationBuffer::bytes_needed(std::uint32_t max_rows, std::uint32_t max_columns) {
  const std::uint64_t values = std::uint64_t{max_rows} * padded(max_columns);
  return Bytes(values * sizeof(float) + values + values / 32 * sizeof(float) +
               values / 16 * sizeof(std::int16_t));
}

ActivationBuffer::ActivationBuffer(std::span<std::byte> memory, std::uint32_t max_rows,
                                   std::uint32_t max_columns)
    : max_rows_(max_rows), max_columns_(max_columns) {
  CHECK_GE(memory.size(), bytes_needed(max_rows, max_columns).count);
  const std::size_t values = std::size_t{max_rows} * padded(max_columns);
  std::byte* at = memory.data();
  values_ = reinterpret_cast<float*>(at);
  at += values * sizeof(float);
  scales_ = reinterpret_cast<float*>(at);
  at += values / 32 * sizeof(float);
  sums_ = reinterpret_cast<std::int16_t*>(at);
  at += values / 16 * sizeof(std::int16_t);
  codes_ = reinterpret_cast<std::int8_t*>(at);
}

void ActivationBuffer::set_shape(std::uint32_t rows, std::uint32_t columns) {
  CHECK_LE(rows, max_rows_);
  CHECK_LE(columns, max_columns_);
  rows_ = rows;
  columns_ = columns;
  stride_ = padded(columns);
  const std::uint32_t first_block = columns / 32;
  for (std::uint32_t row = 0; row < rows; ++row) {
    std::memset(values(row) + columns, 0, (stride_ - columns) * sizeof(float));
    std::memset(codes(row) + first_block * 32, 0, stride_ - first_block * 32);
    std::memset(scales(row) + first_block, 0, (stride_ / 32 - first_block) * sizeof(float));
    std::memset(sums(row) + first_block * 2, 0, (stride_ / 16 - first_block * 2) * 2);
  }
}

}  // namespace hearth::kernels
