// The arithmetic of routed experts on the CPU: down · (activation(gate · x) × (up · x)), for the
// rows of a step that chose them. A MoE layer computes all of its experts with it, and beside a GPU
// the CPU lane those that the GPU hands over (runtime/gpu/cpu_lane.h).
#pragma once

#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "kernels/activations.h"
#include "kernels/cpu_kernels.h"
#include "kernels/worker_pool.h"
#include "runtime/blocks/ffn.h"
#include "runtime/experts/expert_work.h"

namespace hearth::runtime {

// What the experts of a layer have in common.
struct ExpertFfn {
  std::uint32_t experts = 0;
  std::uint32_t embedding = 0;
  std::uint32_t width = 0;  // hidden values
  Activation activation = Activation::kSilu;
  bool weighs_inputs = false;                     // what an expert gets is weighed
  WeightVector gate_scale, up_scale, down_scale;  // per expert, optional
  WeightVector gate_bias, up_bias, down_bias;     // [experts][width or embedding], optional
};

// Pairs (row, rank) grouped by expert: those of one are neighbours, here and in what is computed.
struct ExpertPairs {
  kernels::Activations x;                 // the rows of the step
  const std::uint32_t* x_rows = nullptr;  // [pairs]: the row of x of a pair
  const float* x_weights = nullptr;       // [pairs], where inputs are weighed
  float* out = nullptr;                   // [pairs][embedding]
};

// Working memory, whose contents mean nothing later.
struct ExpertRoom {
  kernels::ActivationBuffer& hidden;           // of all pairs, shape set to [pairs][width]
  std::span<kernels::ActivationBuffer> tiles;  // per worker: rows gathered for one expert
  std::span<const std::span<float>> tile_out;  // per worker [2][kExpertTileRows][kExpertChunk]
};

// Computes the results of the experts' pairs, in two parallel regions without a barrier between
// experts: hidden rows, then output rows; `between` is called between the two.
void compute_experts(const kernels::CpuKernels& kernels, kernels::WorkerPool& pool,
                     const ExpertFfn& ffn, const ExpertPairs& pairs, const ExpertRoom& room,
                     std::span<const ExpertRows> experts, FunctionRef<void()> between);

}  // namespace hearth::runtime
