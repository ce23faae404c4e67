// Activations on a device, in the form of kernels/arithmetic.h. A view (kernels/activations.h) of
// device memory; every row is written up to its stride, zeros past its columns. Where there are
// values alone, they may be any rows of floats: only their columns are written.
#pragma once

#include <cstdint>

#include "kernels/activations.h"

namespace hearth::kernels {

// The rows of `to` get the codes, scales and sums of `x`, and its values where `to` has room for
// them. `to` and `x` may share values.
struct QuantizeTask {
  const float* x = nullptr;  // row r × heads + h of `to` at x[r × x_stride + h × head_stride]
  std::uint64_t x_stride = 0;
  std::uint32_t heads = 1;  // of a row of x: each becomes a row of `to`
  std::uint32_t head_stride = 0;
  struct Destination {
    std::uint32_t rows = 0;
    std::uint32_t columns = 0;
    std::uint32_t stride = 0;      // a multiple of 256 where there are codes
    float* values = nullptr;       // [rows][stride], or null
    std::int8_t* codes = nullptr;  // [rows][stride], 4-byte aligned; or null, as scales and sums
    float* scales = nullptr;       // [rows][stride / 32]
    std::int16_t* sums = nullptr;  // [rows][stride / 16]
  } to;

  Activations result() const {
    return {to.rows, to.columns, to.stride, to.values, to.codes, to.scales, to.sums};
  }
};

// Columns of a row that are written: none where there is nothing to write to.
constexpr std::uint32_t written_columns(const QuantizeTask::Destination& to) {
  if (to.codes != nullptr) return to.stride;
  return to.values != nullptr ? to.columns : 0;
}

}  // namespace hearth::kernels
