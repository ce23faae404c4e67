// The operations of a GPU's kernel table with the shapes of real models, each as decoding launches
// it.
#pragma once

#include <string_view>

#include "benchmarks/support/gpu_bench.h"

namespace hearth::kernels {

// All of them, or only the products of one weight format.
void measure_all(GpuBench& bench, std::string_view only);

}  // namespace hearth::kernels
