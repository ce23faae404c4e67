// Gated products of two rows of f32 on a device, quantized at once: hidden values whose gate and up
// matrices differ in format, and what attention found times its gates.
#pragma once

#include <cstdint>

#include "kernels/gpu/quantize.h"

namespace hearth::kernels {

// How a gate and another value become one: CpuKernels::GatedFn, and for kSigmoid
// CpuKernels::sigmoid_multiply, which takes the other value for y.
enum class GatedActivation : std::uint32_t { kSilu, kGelu, kClamped, kSigmoid };

// Value c of row r is x[r × stride + c], or where rows come in pieces
// x[r × stride + c / piece × piece_stride + c mod piece]: the gates of heads that lie behind their
// queries, say.
struct PiecedRows {
  const float* x = nullptr;
  std::uint64_t stride = 0;
  std::uint32_t piece = 0;  // values; 0: one piece
  std::uint32_t piece_stride = 0;
};

// to[r][c] = activation(gate[r][c]) × up[r][c] for the rows and columns of `to`, whose values may
// be those of `up` (or of `gate`) itself.
struct GateTask {
  GatedActivation activation = GatedActivation::kSilu;
  PiecedRows gate, up;
  QuantizeTask::Destination to;
};

}  // namespace hearth::kernels
