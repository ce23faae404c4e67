// Gated products of two rows of f32 on a device, quantized at once: hidden values whose gate and up
// matrices differ in format.
#pragma once

#include <cstdint>

#include "kernels/gpu/quantize.h"

namespace hearth::kernels {

// How a gate and another value become one: CpuKernels::GatedFn.
enum class GatedActivation : std::uint32_t { kSilu, kGelu, kClamped };

// to[r][c] = activation(gate[r][c]) × up[r][c] for the rows and columns of `to`, whose values may
// be those of `up` (or of `gate`) itself.
struct GateTask {
  struct Rows {
    const float* x = nullptr;  // row r at x[r × stride]
    std::uint64_t stride = 0;
  };
  GatedActivation activation = GatedActivation::kSilu;
  Rows gate, up;
  QuantizeTask::Destination to;
};

}  // namespace hearth::kernels
