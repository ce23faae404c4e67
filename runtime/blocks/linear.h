// Building blocks of blocks: normalised and quantized rows, and products spread over the workers.
#pragma once

#include <initializer_list>

#include "runtime/step.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

// Step::scratch.normed = rms_norm of these rows of the residual stream, in f32 and quantized.
void normalize(const Step& step, const float* weight, float epsilon, kernels::RowRange rows);

// Quantizes rows whose `values` are set.
void quantize_rows(const Step& step, kernels::ActivationBuffer& rows);

struct Projection {
  const kernels::WeightMatrix* weights;  // null: there is none
  float* out;                            // [rows of x][stride], the first row's first value
};

// All products of one input, in one parallel region.
void project(const Step& step, const kernels::Activations& x,
             std::initializer_list<Projection> projections, std::size_t stride);

// residual += block_out, all rows.
void add_block_out(const Step& step);

// block_out = rms_norm of block_out, all rows.
void normalize_block_out(const Step& step, const float* weight, float epsilon);

// Calls body(row, worker) for all rows; in parallel when that is worth it.
template <typename Body>
void for_rows(const Step& step, std::uint32_t rows, Body&& body) {
  constexpr std::uint32_t kSerialRows = 2;  // below, waking the workers costs more than it saves
  if (rows < kSerialRows) {
    for (std::uint32_t row = 0; row < rows; ++row) body(row, 0u);
    return;
  }
  step.pool.run(rows, body);
}

}  // namespace hearth::runtime
