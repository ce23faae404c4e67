// Experts of a layer with the rows of a prompt.
#pragma once

#include "benchmarks/support/gpu_bench.h"

namespace hearth::kernels {

void measure_prompt_experts(GpuBench& bench, WeightFormat format);
void measure_group(GpuBench& bench);

}  // namespace hearth::kernels
