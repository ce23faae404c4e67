// The residual stream on a device: what a block gives is added to it, and its norm becomes the
// input of the next one. Rows are one block of threads each, so that all of this is one launch,
// with the sum of a layer's experts before it.
#pragma once

#include <cstdint>

#include "kernels/gpu/ahead.h"
#include "kernels/gpu/quantize.h"

namespace hearth::kernels {

// What is added to the residual stream: the output of a block, or a part of it. In this order:
// × sigmoid(gate of its row), then CpuKernels::rms_norm with `norm`.
struct BlockOutput {
  const float* x = nullptr;  // [rows][stride]; null: none
  std::uint64_t stride = 0;
  const float* gate = nullptr;  // [rows], or null
  std::uint64_t gate_stride = 0;
  const float* norm = nullptr;  // [columns], or null
};

// The results of a row's experts, combined in the order of ranks:
//   sums[row] = w[0] × r[0], then fma(r[k], w[k], sums[row]) for ranks 1 to k-1 (MoeBlock::combine)
struct ExpertResults {
  std::uint32_t used = 0;  // at most kMostExpertsUsed
  // [rows × used]: where the result of a pair lies, in device or mapped memory; null: no experts
  const float* const* results = nullptr;
  const float* weights = nullptr;  // [rows × used]; null: 1
  float* sums = nullptr;           // [rows][stride]; not written where no norm reads them again
  std::uint64_t stride = 0;
  // Of the lane block, where the CPU computes some of them, after a wait for it; null: it does not.
  const std::uint32_t* done = nullptr;
};

// The norm of a row times a weight. Nothing is written where `to` has neither values nor codes;
// without codes no padding is written either, so that `to` may be any rows of floats.
struct NormedOutput {
  const float* weight = nullptr;  // [columns]; null: 1
  QuantizeTask::Destination to;
};

// A shared network and experts, and what they need: a router, both of them, the next router.
inline constexpr std::uint32_t kMostBlockOutputs = 2;
inline constexpr std::uint32_t kMostNormedOutputs = 4;

// For each row, with sum = added[0] + added[1] (or the one there is), of which one may be what
// experts.sums is given first:
//   sum = rms_norm(sum) × added_norm
//   x   = (x + sum) × factor
//   outputs[i] = rms_norm(x) × its weight
// each where the task has it. An output may lie where x does, if it is the only one.
struct NormalizeTask {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  float* x = nullptr;  // [rows][x_stride]; read only where nothing is added and no factor given
  std::uint64_t x_stride = 0;
  ExpertResults experts;
  BlockOutput added[kMostBlockOutputs];
  const float* added_norm = nullptr;  // [columns], or null
  const float* factor = nullptr;      // [1], or null
  float epsilon = 0;                  // of all norms
  NormedOutput outputs[kMostNormedOutputs];
  Ahead ahead;
};

}  // namespace hearth::kernels
