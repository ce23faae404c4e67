// Rows of an embedding table on a device, exactly as its format defines them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "kernels/weight_format.h"

namespace hearth::kernels {

// out[r] = the table's row of ids[r] (CpuKernels::dequantize) × scale. An id outside of the table
// is counted, and its row is zeros.
struct EmbedTask {
  WeightFormat format = WeightFormat::kF32;
  std::uint32_t vocabulary = 0;      // rows of the table
  std::uint32_t columns = 0;         // a multiple of the values per block
  const std::byte* table = nullptr;  // device or mapped memory, as a matrix (kMatrixAlignment)
  std::uint32_t rows = 0;
  const TokenId* ids = nullptr;  // [rows] in device memory
  float scale = 1;
  float* out = nullptr;  // [rows][out_stride]
  std::uint64_t out_stride = 0;
  std::uint32_t* unknown = nullptr;  // grows by one for each id outside of the table
};

}  // namespace hearth::kernels
