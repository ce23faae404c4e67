// Which lane serves a miss: of a layer's experts that are in RAM and not in VRAM, how many are
// fetched over the link and how many the CPU computes where they lie.
//
// Pure. The lanes of a layer (GPU: hits; link: fetches; CPU) work side by side; what was fetched is
// then read once more from VRAM. Link and CPU read the same RAM, which bounds their sum. Every lane
// that takes part costs something of its own, without which such a model recommends splits that
// lose. Experts are whole, so that the best number is found by trying them all.
#pragma once

#include <cstdint>
#include <vector>

#include "profiler/machine.h"

namespace hearth::profiler {

// What the lanes of this machine do, as measured; join costs in seconds for each layer in which the
// lane takes part.
struct LaneCosts {
  BytesPerSecond gpu_rate = 0;
  BytesPerSecond link_rate = 0;  // host to device, alone
  BytesPerSecond cpu_rate = 0;   // of the CPU's kernels, alone
  BytesPerSecond both_rate = 0;  // of link and CPU together
  double link_join = 0;
  double cpu_join = 0;
};

// `cpu_rate` of the CPU's kernels with the formats of the experts.
LaneCosts lane_costs(const GpuMachine& gpu, BytesPerSecond cpu_rate);

// How the experts of one layer in one step are served. Experts on disk are not among them: the CPU
// computes them when they have arrived.
struct LaneCounts {
  std::uint32_t hits = 0;
  std::uint32_t fetched = 0;
  std::uint32_t on_cpu = 0;
};

// Seconds until all experts of the layer are computed.
double layer_seconds(const LaneCosts& costs, double expert_bytes, const LaneCounts& counts);

// The split of `misses` that is soonest; of equals the one that fetches least, which leaves VRAM as
// it is.
LaneCounts split_misses(const LaneCosts& costs, double expert_bytes, std::uint32_t hits,
                        std::uint32_t misses);

// How many are fetched for each number of misses from 0 on: what the kernel that resolves the
// routing goes by, since only it knows how many there are.
using FetchTable = std::vector<std::uint32_t>;

struct LayerExperts {
  std::uint32_t used = 0;  // distinct experts of a step, at most
  double expert_bytes = 0;
};
FetchTable fetch_table(const LaneCosts& costs, const LayerExperts& experts);

// Tables from "the CPU computes all misses" (the first) to "all are fetched" (the last), each
// fetching at least as many as the one before it: what else might be best on a machine whose rates
// are not the measured ones.
struct FetchLadder {
  std::vector<FetchTable> rungs;
  std::uint32_t measured = 0;  // the rung of fetch_table(costs, experts)
};
FetchLadder fetch_ladder(const LaneCosts& costs, const LayerExperts& experts);
FetchLadder only_fetches(const LayerExperts& experts);  // a single rung

}  // namespace hearth::profiler
