// One MoE layer of a token on a machine with a GPU: which lane serves how many of its experts, and
// how long that takes.
//
// Each of the top-k experts is in VRAM with the same probability, so the number of misses is
// binomial. Misses in RAM are copied or computed by the CPU (profiler/step_split.h). Experts on
// disk are read beside all this; the last of them is computed when it has arrived.
//
// What is gathered ahead while the link is idle (profiler/lane_tuner.h) is left out, so that a step
// is predicted as it is without. A guess is the next layer's router on this layer's input: how
// often it is right of the experts that VRAM misses follows from the weights, and no profile has
// counted it. The partners of a profile are another guess, of popular experts above all. Trials let
// a device prefetch only where its steps are sooner for it.
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
