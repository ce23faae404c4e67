// A feed-forward network that every token passes, on a device (runtime/blocks/ffn.h).
#pragma once

#include "runtime/blocks/ffn.h"
#include "runtime/gpu/device_step.h"

namespace hearth::runtime {

kernels::GatedActivation gated(Activation activation);

// out[row] = down · (activation(gate · x) × (up · x)). The hidden values lie in scratch.attended.
void record_ffn(const DeviceStep& step, const FfnWeights& weights, Activation activation,
                const kernels::Activations& x, float* out);

}  // namespace hearth::runtime
