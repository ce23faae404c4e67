// One MoE layer of a token on a machine with a GPU: which lane serves how many of its experts, and
// how long that takes.
//
// Each of the top-k experts is in VRAM with the same probability, so the number of misses is
// binomial. Misses in RAM are copied or computed by the CPU (profiler/step_split.h). Experts on
// disk are read beside all this; the last of them is computed when it has arrived.
#pragma once

#include <cstdint>

#include "profiler/cost_model.h"
#include "profiler/step_split.h"

namespace hearth::profiler {

struct GpuLayer {
  std::uint32_t experts_used = 0;
  double expert_bytes = 0;
  LaneCosts lanes;
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
