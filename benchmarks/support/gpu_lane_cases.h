// What spreads the experts of a step over VRAM, link and CPU (kernels/gpu/resolve.h, gather.h,
// lane_block.h), with the sizes of Qwen3-30B-A3B in Q4_K.
#pragma once

#include "benchmarks/support/gpu_bench.h"

namespace hearth::kernels {

void measure_lanes(GpuBench& bench);

}  // namespace hearth::kernels
