// Where the GPU hands experts over to the CPU within a step, and the CPU their results back: mapped
// memory that both see at one address. One block serves all MoE layers of a device, one after
// another.
//
//   control   doorbell | done | job_count       a cache line each
//   jobs      [pairs]   an expert each      ┐
//   x_rows    [pairs], x_weights [pairs]    ├─ and job_count: the GPU writes, the CPU reads
//   x         [rows] codes, scales, sums …  ┘
//   results   [pairs][embedding]            ── the CPU writes, the GPU reads (normalize)
//
// Who writes what when. A layer has a stamp, its number + 1, larger than those before it.
//
//   GPU: jobs, x …; fence_system; doorbell = stamp [release]
//   CPU: doorbell != 0 [acquire]; reads; results; doorbell = 0; done = stamp [release]
//   GPU: waits until done >= stamp; normalize: done [acquire], reads results; next layer …
//
// - Between doorbell and done all of the block is the CPU's, else the GPU's: hand_over of the next
//   layer comes after the wait of this one in the order of their stream. So neither word is written
//   by both at a time, and one block is enough.
// - A layer without work for the CPU rings no doorbell: hand_over itself sets done, and the wait
//   behind it passes at once.
// - done = kLaneFailed ends a wait as well: the CPU could not compute, and the results of the step
//   are not to be used. Whoever set it has the error, and answers later doorbells of the step in
//   the same way.
// - The values in a graph are those of its capture. So the host sets done back to 0 before a step,
//   when the lane is idle.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/units.h"
#include "kernels/gpu/quantize.h"

namespace hearth::kernels {

// More than the stamp of any layer, and later than it in the sense of Stream::wait_value.
inline constexpr std::uint32_t kLaneFailed = 0x40000000;

inline constexpr std::uint32_t lane_stamp(std::uint32_t layer) { return layer + 1; }

// One expert of a step that the CPU computes. Pairs (token, rank) are numbered as resolve grouped
// them, those of one expert are neighbours; the numbers are also those of ExpertJob::begin.
struct LaneJob {
  std::uint32_t expert = 0;
  std::uint32_t begin = 0;  // first pair
  std::uint32_t rows = 0;   // pairs
};

struct LaneControl {
  alignas(64) std::uint32_t doorbell = 0;
  alignas(64) std::uint32_t done = 0;
  alignas(64) std::uint32_t job_count = 0;
};

struct LaneShape {
  std::uint32_t rows = 0;  // tokens of a step, at most
  std::uint32_t experts_used = 0;
  std::uint32_t embedding = 0;
  bool with_values = false;  // the rows in f32, too: for experts in a float format

  constexpr std::uint32_t pairs() const { return rows * experts_used; }
};

// The addresses of its parts.
struct LaneBlock {
  LaneShape shape;
  LaneControl* control = nullptr;
  LaneJob* jobs = nullptr;          // [pairs]
  std::uint32_t* x_rows = nullptr;  // [pairs]: the row of x of a pair
  float* x_weights = nullptr;       // [pairs]: the router's weight of a pair
  QuantizeTask::Destination x;      // [rows][embedding]
  float* results = nullptr;         // [pairs][embedding]
};

Bytes lane_block_bytes(const LaneShape& shape);
// `memory` has lane_block_bytes(shape) and is aligned to 64.
LaneBlock lane_block_at(std::byte* memory, const LaneShape& shape);

// Hands the CPU its part of a layer, or says that it has none. All but the block is in device
// memory. A wait for done >= stamp follows in the same stream, wherever the results are wanted.
struct HandOverTask {
  const LaneJob* jobs = nullptr;             // [pairs]
  const std::uint32_t* job_count = nullptr;  // one number
  const std::uint32_t* x_rows = nullptr;     // [pairs]
  const float* x_weights = nullptr;          // [pairs]; null: they are not used
  Activations x;                             // the rows of the step
  LaneBlock to;
  std::uint32_t stamp = 0;
};

}  // namespace hearth::kernels
