// Rows of activations, in f32 and in the 8-bit form of kernels/arithmetic.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/units.h"
#include "kernels/arithmetic.h"

namespace hearth::kernels {

// A view. `codes`, `scales` and `sums` may be null for a product with a float format, `values` for
// a product with a block format.
struct Activations {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  std::uint32_t stride = 0;            // values from one row to the next, a multiple of 256
  const float* values = nullptr;       // [rows][stride]
  const std::int8_t* codes = nullptr;  // [rows][stride]
  const float* scales = nullptr;       // [rows][stride / 32]
  const std::int16_t* sums = nullptr;  // [rows][stride / 16]
};

// Rows [begin, begin + count) of `x`.
inline Activations slice_rows(const Activations& x, std::uint32_t begin, std::uint32_t count) {
  const std::size_t skip = std::size_t{begin} * x.stride;
  return {count,
          x.columns,
          x.stride,
          x.values ? x.values + skip : nullptr,
          x.codes ? x.codes + skip : nullptr,
          x.scales ? x.scales + skip / 32 : nullptr,
          x.sums ? x.sums + skip / 16 : nullptr};
}

// Memory for up to `max_rows` × `max_columns`, owned by whoever gave the span (scratch is carved
// from one arena at load). Padding up to the stride is zero after set_shape().
class ActivationBuffer {
 public:
  static Bytes bytes_needed(std::uint32_t max_rows, std::uint32_t max_columns);

  ActivationBuffer() = default;
  // `memory` holds at least bytes_needed(max_rows, max_columns), 64-byte aligned.
  ActivationBuffer(std::span<std::byte> memory, std::uint32_t max_rows, std::uint32_t max_columns);

  void set_shape(std::uint32_t rows, std::uint32_t columns);  // zeroes the padding of each row
  std::uint32_t rows() const { return rows_; }
  std::uint32_t columns() const { return columns_; }
  std::uint32_t stride() const { return stride_; }

  float* values(std::uint32_t row) { return values_ + std::size_t{row} * stride_; }
  std::int8_t* codes(std::uint32_t row) { return codes_ + std::size_t{row} * stride_; }
  float* scales(std::uint32_t row) { return scales_ + std::size_t{row} * (stride_ / 32); }
  std::int16_t* sums(std::uint32_t row) { return sums_ + std::size_t{row} * (stride_ / 16); }

  Activations view() const { return {rows_, columns_, stride_, values_, codes_, scales_, sums_}; }

 private:
  std::uint32_t max_rows_ = 0, max_columns_ = 0;
  std::uint32_t rows_ = 0, columns_ = 0, stride_ = 0;
  float* values_ = nullptr;
  std::int8_t* codes_ = nullptr;
  float* scales_ = nullptr;
  std::int16_t* sums_ = nullptr;
};

}  // namespace hearth::kernels
