// The rows of a step through a gated delta net on a device (kernels/delta_net.h,
// runtime/blocks/delta_net.cpp), between the products into and out of it: three launches, for any
// number of rows, with the bits of the scalar kernels. Windows and states lie as the CPU's do, so
// that a session may go from one to the other.
#pragma once

#include <cstdint>

#include "kernels/delta_net.h"
#include "kernels/gpu/ahead.h"
#include "kernels/gpu/quantize.h"

namespace hearth::kernels {

// The state of a panel with so many keys fits the memory that a block has on every device.
inline constexpr std::uint32_t kMostDeltaKeys = 512;

// What a product left for the heads of a row. The heads that share key head h lie together, the
// first at at[row × row_stride + h × key_head_stride]: so a matrix of its own and what is fused per
// key head look the same.
struct DeltaInput {
  const float* at = nullptr;
  std::uint64_t row_stride = 0;
  std::uint32_t key_head_stride = 0;
};

// Convolution, lengths of queries and keys, gates.
struct PrepareDeltaTask {
  DeltaNetShape shape;
  std::uint32_t rows = 0;
  DeltaInput query, key, value;
  DeltaInput alpha, beta;              // one float for each value head
  const float* convolution = nullptr;  // [channels][taps], channels q | k | v
  float* window = nullptr;             // [taps - 1][channels], the oldest first
  const float* bias = nullptr;         // [value_heads], of the decay
  const float* rate = nullptr;         // [value_heads]
  float epsilon = 0;
  float* mixed = nullptr;  // [rows][channels]; none of the inputs
  float* decay = nullptr;  // [rows][value_heads]
  float* strength = nullptr;
};

struct UpdateDeltaTask {
  DeltaNetShape shape;  // at most kMostDeltaKeys
  std::uint32_t rows = 0;
  const float* mixed = nullptr;  // as PrepareDeltaTask left them
  const float* decay = nullptr;
  const float* strength = nullptr;
  float* state = nullptr;  // [value_heads][panels][key_dim][kDeltaPanel], 16-byte aligned
  float* out = nullptr;    // [rows][values]
};

// rms_norm of each head, times silu(z), quantized; values, too, where `to` has room for them.
struct FinishDeltaTask {
  DeltaNetShape shape;
  const float* x = nullptr;  // [rows][values]
  DeltaInput z;
  const float* norm = nullptr;  // [value_dim]
  float epsilon = 0;
  QuantizeTask::Destination to;  // columns: values of the shape
  Ahead ahead;                   // of one row
};

}  // namespace hearth::kernels
