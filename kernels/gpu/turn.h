// What happens to queries, keys and values of a step between their projection and the cache: norms
// of heads, rotary embedding, a factor for each row, and the rotation of quantized formats; then
// keys and values are stored there.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {

// The queries, the keys or the values of a step. For each head of each row, in this order:
//   the first `normed` channels become their norm (CpuKernels::rms_norm) with `weight`
//   pairs of channels from `first` on are turned (CpuKernels::rope_halves, rope_pairs)
//   the head becomes its norm, without a weight
//   it is multiplied by the factor of its row
//   it is rotated (kernels/kv/rotation.h)
//   it is stored in the tile of its position (runtime/kv_cache.h), in the format where that is one
//   of floats, else in f16, to be encoded later (kv_encode.h). A tile whose first position is among
//   those of the step has zeros where no row is.
struct HeadGroup {
  std::uint32_t heads = 0;
  std::uint32_t dim = 0;        // of a head, at most kMaxHeadDim
  const float* from = nullptr;  // null: in place, else likewise row r, head h from its strides
  std::uint64_t from_stride = 0;
  std::uint32_t from_head_stride = 0;
  float* x = nullptr;  // row r, head h at x[r × stride + h × head_stride]; null: only stored
  std::uint64_t stride = 0;
  std::uint32_t head_stride = 0;

  std::uint32_t normed = 0;         // channels
  const float* weight = nullptr;    // [normed]; null: 1
  std::uint32_t half = 0;           // pairs; 0: nothing is turned
  std::uint32_t first = 0;          // channel
  bool neighbours = false;          // (2i, 2i + 1), else (i, i + half)
  bool normed_when_turned = false;  // the whole head
  const float* factors = nullptr;   // [rows], or null
  RotationLayout rotation;
  KvMemory to;  // without channels: not stored
};

// One launch for all groups. No group reads what another writes.
struct TurnTask {
  std::uint32_t rows = 0;
  // Of the first row, where any are stored. In device memory, so that a captured graph may advance.
  const std::uint32_t* position = nullptr;
  // Of the rows, made by the host in double: [rows][table_stride]. How far a pair turns, slowed
  // down or not, is in them.
  const float* cosine = nullptr;
  const float* sine = nullptr;
  std::uint32_t table_stride = 0;
  float epsilon = 0;  // of norms
  HeadGroup groups[3];
};

}  // namespace hearth::kernels
