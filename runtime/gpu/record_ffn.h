// Feed-forward networks on a device: that of every token (runtime/blocks/ffn.h), experts, or both
// beside each other.
#pragma once

#include <array>

#include "runtime/blocks/ffn.h"
#include "runtime/gpu/device_step.h"

namespace hearth::runtime {

kernels::GatedActivation gated(Activation activation);

// down · (activation(gate · x) × (up · x)) of up to two networks: a launch for their hidden values
// and one for what their down matrices give. Where gate and up have formats of their own, the gate
// is a third between the two.
struct FfnProducts {
  kernels::Products hidden;
  std::array<kernels::GateTask, 2> gates;
  std::uint32_t gate_count = 0;
  kernels::Products down;
};

// The network that every token passes. Its hidden values lie in scratch.attended.
void add_ffn(const DeviceStep& step, const FfnWeights& weights, Activation activation,
             const kernels::Activations& x, float* out, FfnProducts& to);
void record(const DeviceStep& step, const FfnProducts& products);

}  // namespace hearth::runtime
