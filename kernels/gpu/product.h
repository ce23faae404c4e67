// Products of weights with rows of activations on a device, bit for bit those of
// kernels/arithmetic.h: a dense matrix, or a matrix of each of the experts that a step chose; one
// matrix alone, or a gate and an up matrix whose activated product is quantized at once.
//
// One task, two operations with the same bits: `product` for 1 to 8 rows of activations, where the
// weights are what has to be read, and `matrix_product` for any number, by the matrix units.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activations.h"
#include "kernels/gpu/gate.h"
#include "kernels/gpu/quantize.h"
#include "kernels/weight_format.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kMostProductRows = 8;  // of `product`

// A matrix in device memory begins at a multiple of 16 bytes (its rows anywhere), and the last
// word of four bytes it reaches into can be read.
inline constexpr std::size_t kMatrixAlignment = 16;

// One expert of a step, in device memory: written there by the kernel that resolves the routing.
// Its rows are pairs (token, rank); pairs of one expert are neighbours.
struct ExpertJob {
  const std::byte* matrices[3] = {};  // gate, up, down; null: not computed on the device
  std::uint32_t expert = 0;           // row of biases and scales
  std::uint32_t begin = 0;            // first pair
  std::uint32_t rows = 0;             // pairs, at most ProductTask::most_rows
};

// Scales and biases of a matrix, each optional: y = y × scale[expert], then y + bias[expert][row].
struct OutputTerms {
  const float* scale = nullptr;
  const float* bias = nullptr;
};

struct ProductTask {
  WeightFormat format = WeightFormat::kF32;
  std::uint32_t rows = 0;     // of a matrix
  std::uint32_t columns = 0;  // a multiple of the values per block
  Activations x;              // dense: one row for each output row (and part)

  // One matrix, or two: gate and up.
  std::uint32_t matrices = 1;
  const std::byte* dense[2] = {};  // without jobs
  // One dense matrix: as many of them, each part_bytes after the one before and with rows of its
  // own. What matrix p gives for row r is of row r × parts + p of x.
  std::uint32_t parts = 1;
  std::uint64_t part_bytes = 0;
  const ExpertJob* jobs = nullptr;        // [job_count] in device memory
  std::uint32_t job_count = 0;            // a bound: jobs with no rows cost an empty block
  std::uint32_t job_matrix = 0;           // of ExpertJob::matrices: 0 (gate and up) or 2 (down)
  const std::uint32_t* x_rows = nullptr;  // [pairs]: the row of x of a pair; null: the pair's own
  // [pairs]: what scales and values of a pair's row of x are multiplied with first; null: nothing
  const float* x_weights = nullptr;
  std::uint32_t most_rows = 1;  // of a job

  OutputTerms terms[2];
  float* y = nullptr;  // one matrix: [rows of x or pairs][y_stride]
  std::uint64_t y_stride = 0;
  std::uint64_t y_part_stride = 0;  // from what a part gives to the next, in a row of y
  GatedActivation activation = GatedActivation::kSilu;
  QuantizeTask::Destination hidden;  // two matrices: [rows of x or pairs]
};

// What is asked of `product` together is one launch, whatever formats, shapes and inputs: none
// needs what another gives.
inline constexpr std::uint32_t kMostProducts = 4;

struct Products {
  Products() = default;
  Products(const ProductTask& one) : tasks{one}, count(1) {}

  ProductTask tasks[kMostProducts];
  std::uint32_t count = 0;
};

}  // namespace hearth::kernels
