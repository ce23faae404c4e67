// Working memory of a step on a device, carved at load from one arena. The pieces of
// runtime/scratch.h that a device needs, at most kMostProductRows rows of each.
#pragma once

#include <cstdint>

#include "kernels/gpu/product.h"
#include "kernels/gpu/quantize.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/scratch.h"

namespace hearth::runtime {

// Room for rows of activations, in f32 and quantized.
class DeviceActivations {
 public:
  DeviceActivations() = default;
  DeviceActivations(std::uint32_t most_rows, std::uint32_t most_columns, DeviceArena& arena);

  // So many of them; what was there before is lost.
  kernels::QuantizeTask::Destination shaped(std::uint32_t rows, std::uint32_t columns) const;
  float* values() const { return values_; }

 private:
  float* values_ = nullptr;
  std::int8_t* codes_ = nullptr;
  float* scales_ = nullptr;
  std::int16_t* sums_ = nullptr;
};

struct DeviceScratch {
  // shape.rows tokens of a step, and logits for as many.
  DeviceScratch(const ScratchShape& shape, const DeviceNeeds& needs, DeviceArena& arena);

  ScratchShape shape;
  float* hidden = nullptr;     // [rows][embedding], the residual stream
  DeviceActivations normed;    // [rows][embedding]
  float* projected = nullptr;  // [rows][projections]
  DeviceActivations attended;  // [rows][attention_width]
  float* attention_states = nullptr;
  DeviceActivations heads;    // [rows × product_heads][product_columns]
  float* block_out = nullptr;  // [rows][embedding]
  float* router_scores = nullptr;     // [rows][experts]
  DeviceActivations expert_hidden;    // [rows × experts_used][expert_ff]
  float* expert_out = nullptr;        // [rows × experts_used][embedding]
  float* logits = nullptr;            // [rows][vocabulary]
};

}  // namespace hearth::runtime
