// Working memory of a step on a device, carved at load from one arena. The pieces of
// runtime/scratch.h that a device needs.
#pragma once

#include <cstdint>

#include "kernels/gpu/product.h"
#include "kernels/gpu/quantize.h"
#include "kernels/gpu/resolve.h"
#include "kernels/gpu/sample.h"
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

// What the resolving of a layer's routing leaves for those who compute, and for their sum. With all
// experts on the device nothing is fetched, and nothing left to the host.
struct DeviceExpertLists {
  // For shape.rows tokens that are grouped, of which as many as are resolved are resolved.
  DeviceExpertLists(const ScratchShape& shape, DeviceArena& arena);
  // To what the first step finds.
  void reset(kernels::Stream& stream) const;
  // Of `task`, all that is written, and where results are.
  void give_to(kernels::ResolveTask& task) const;

  std::uint32_t resolved = 0;  // pairs, at most
  std::uint32_t embedding = 0;
  kernels::ExpertJob* hits = nullptr;       // [resolved], or those of all experts of a layer
  kernels::ExpertJob* fetched = nullptr;    // [resolved]
  kernels::ExpertFetch* fetches = nullptr;  // [resolved]
  std::uint32_t* x_rows = nullptr;          // [pairs], by place
  float* x_weights = nullptr;               // likewise
  const float** results = nullptr;          // [pairs]
  float* outputs = nullptr;                 // [pairs][embedding], by place
  std::uint32_t* fetch_limits = nullptr;    // [resolved + 1] zeros
  std::uint32_t* fetch_count = nullptr;
  kernels::LaneJob* host_jobs = nullptr;  // [resolved]
  std::uint32_t* host_count = nullptr;
  float* nothing = nullptr;  // [embedding] zeros
};

struct DeviceScratch {
  // shape.rows tokens of a step, and logits for shape.logit_rows.
  DeviceScratch(const ScratchShape& shape, const DeviceNeeds& needs, DeviceArena& arena);

  ScratchShape shape;
  float* hidden = nullptr;  // [rows][embedding], the residual stream
  // [rows][embedding] each: the input of a block, or of its first part, and of its others.
  DeviceActivations normed, shared_normed, expert_normed;
  float* projected = nullptr;  // [rows][projections]
  DeviceActivations attended;  // [rows][attention_width]
  float* attention_states = nullptr;
  DeviceActivations heads;         // [rows × product_heads][product_columns]
  float* recurrent = nullptr;      // [rows][recurrent_floats]
  float* block_out = nullptr;      // [rows][embedding]
  float* shared_out = nullptr;     // [rows][embedding], of a network beside experts
  float* router_scores = nullptr;  // [rows][experts + 1], the last for a gate
  DeviceExpertLists lists;
  DeviceActivations expert_hidden;           // [rows × experts_used][expert_ff]
  float* expert_gates = nullptr;             // [rows × experts_used][2 × expert_ff], where needed
  std::uint16_t* expert_ids = nullptr;       // [rows × experts_used]
  float* expert_weights = nullptr;           // likewise
  kernels::Candidate* candidates = nullptr;  // what sampling leaves between its launches
  float* logits = nullptr;                   // [logit_rows][vocabulary]
};

}  // namespace hearth::runtime
