// Activations of gates.
#pragma once

#include "kernels/gpu/gate.h"
#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// CpuKernels::sigmoid_multiply
HEARTH_DEVICE float sigmoid_multiply(float gate, float y) {
  return divide(y, 1.0f + exponential(gate * -1.0f));
}

// CpuKernels::GatedFn
HEARTH_DEVICE float activate(GatedActivation activation, float gate, float up) {
  switch (activation) {
    case GatedActivation::kGelu: {
      const float cubic = fma(gate * gate, -0.0713548163f, -1.5957691216f);
      return divide(gate, 1.0f + exponential(gate * cubic)) * up;
    }
    case GatedActivation::kClamped: {
      const float x = 7.0f < gate ? 7.0f : gate;
      const float high = 7.0f < up ? 7.0f : up;
      const float u = high < -7.0f ? -7.0f : high;
      return divide(x, 1.0f + exponential(-1.702f * x)) * (u + 1.0f);
    }
    case GatedActivation::kSilu:
      break;
  }
  return divide(gate, 1.0f + exponential(gate * -1.0f)) * up;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
