// Attention of the rows of a step on a device, with the bits of kernels/attention.h.
//
// For few rows, blocks compute chunks of the context side by side and leave a state for each query,
// as the CPU does; a second kernel merges them in order. For many, each block walks the context of
// its queries. Either way that kernel ends with the inputs of the next product. Neither the number
// of blocks nor the rows that are computed together change a result.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/gpu/ahead.h"
#include "kernels/gpu/quantize.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels {

// What becomes of what the heads of a row found: inputs of the next product.
struct HeadResults {
  // Row r of `to` has all heads of row r side by side; or apart, row r × heads + h has head h.
  bool apart = false;
  QuantizeTask::Destination to;
  // Values are multiplied by the sigmoids of these first (CpuKernels::sigmoid_multiply): of row r,
  // head h from gates[r × gate_stride + h × gate_head_stride] on. Null: they are not.
  const float* gates = nullptr;
  std::uint64_t gate_stride = 0;
  std::uint32_t gate_head_stride = 0;
};

struct AttendTask {
  std::uint32_t rows = 0;
  std::uint32_t heads = 0;  // a multiple of kv_heads
  std::uint32_t kv_heads = 0;
  std::uint32_t value_dim = 0;
  float scale = 1;  // of the scores
  // Of the first row; the others follow. In device memory, so that a captured graph may advance.
  const std::uint32_t* position = nullptr;
  // What a row attends to besides its own position: all before it (0), the last few, or those of
  // its own piece of the context.
  std::uint32_t window = 0;
  bool window_is_piece = false;
  std::uint32_t tail = 0;  // newest positions that are read as f16, at least
  // Rotated as the keys are: row r, head h at queries[r × query_stride + h × key_dim].
  const float* queries = nullptr;
  std::uint64_t query_stride = 0;
  KvMemory keys;
  KvMemory values;               // not read where they are in the keys
  bool values_in_keys = false;   // the first value_dim channels; layouts that hold latents
  const float* sinks = nullptr;  // [heads]: logits that take weight from all values; or null
  float* states = nullptr;       // attend_state_floats(rows, heads, value_dim)
  RotationLayout rotation;       // takes back that of the values, before anything else
  HeadResults results;
  Ahead ahead;  // of one row
};

// Up to so many rows have the chunks of their contexts computed side by side.
inline constexpr std::uint32_t kMostSideBySideRows = 8;

// What chunks leave: [chunks][rows × heads maxima, as many sums, outputs of value_dim each], for
// any number of rows up to `rows`. Blocks that walk a context have two chunks at a time.
constexpr std::size_t attend_state_floats(std::uint32_t rows, std::uint32_t heads,
                                          std::uint32_t value_dim) {
  const std::size_t few = rows < kMostSideBySideRows ? rows : kMostSideBySideRows;
  const std::size_t side_by_side = kMaxAttentionChunks * few, walked = std::size_t{2} * rows;
  return (side_by_side > walked ? side_by_side : walked) * heads * (2 + value_dim);
}

}  // namespace hearth::kernels
