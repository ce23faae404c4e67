// One MoE layer of a token on a machine with a GPU: which lane serves how many of its experts, and
// how long that takes.
//
// Each of the top-k experts is in VRAM with the same probability, so the number of misses is
// binomial. While the GPU computes the hits from VRAM, the CPU computes some misses where they lie
// and others are copied, in whole experts; both read the same RAM, which bounds their sum. What was
// copied is then read once more from VRAM. Experts on disk are read beside all this; the last of
// them is computed when it has arrived.
#pragma once

#include <cstdint>

#include "profiler/cost_model.h"

namespace hearth::profiler {

struct GpuLayer {
  std::uint32_t experts_used = 0;
  double expert_bytes = 0;
  BytesPerSecond gpu_rate = 0;
  BytesPerSecond link_rate = 0;  // host to device, alone
  BytesPerSecond cpu_rate = 0;   // of the CPU's kernels, alone
  BytesPerSecond both_rate = 0;  // of the two together
  double join = 0;               // seconds, where the CPU takes part
  BytesPerSecond disk_rate = 0;
  double disk_latency = 0;  // seconds
};

// Expected values.
struct GpuLayerTime {
  double seconds = 0;
  double join_seconds = 0;
  double hit_bytes = 0;
  double copied_bytes = 0;
  double cpu_bytes = 0;  // computed by the CPU
  double disk_bytes = 0;
};

GpuLayerTime expected_layer(const GpuLayer& layer, const TierHits& hits, MissPath path);

}  // namespace hearth::profiler
