// What happens to queries, keys and values of a step between their projection and the cache: rotary
// embedding, a factor for each row, and the rotation of quantized formats.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {

// In place, for each head of each row, in this order:
//   pairs of channels from `first` on are turned (CpuKernels::rope_halves, rope_pairs)
//   the head is multiplied by the factor of its row
//   it is rotated (kernels/kv/rotation.h)
struct TurnTask {
  std::uint32_t rows = 0;
  std::uint32_t heads = 0;
  std::uint32_t dim = 0;  // of a head, at most kMaxHeadDim
  float* x = nullptr;     // row r, head h at x[r × stride + h × head_stride]
  std::uint64_t stride = 0;
  std::uint32_t head_stride = 0;
  // Of the rows, made by the host in double: [rows][table_stride]. How far a pair turns, slowed
  // down or not, is in them.
  const float* cosine = nullptr;
  const float* sine = nullptr;
  std::uint32_t table_stride = 0;
  std::uint32_t half = 0;          // pairs; 0: nothing is turned
  std::uint32_t first = 0;         // channel
  bool neighbours = false;         // (2i, 2i + 1), else (i, i + half)
  const float* factors = nullptr;  // [rows], or null
  RotationLayout rotation;
};

}  // namespace hearth::kernels
