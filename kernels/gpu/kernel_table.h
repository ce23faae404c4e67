// Every operation of the GPU, one table for each target (CUDA, HIP, and the host's emulation).
//
// A task describes an operation: shapes and addresses in device memory. Its launch function chooses
// blocks and threads and launches; it allocates nothing, waits for nothing, and may be captured. A
// table has no empty entry: an operation without a kernel does not link.
#pragma once

#include <string_view>

#include "kernels/gpu/attention.h"
#include "kernels/gpu/delta_net.h"
#include "kernels/gpu/embed.h"
#include "kernels/gpu/gate.h"
#include "kernels/gpu/gather.h"
#include "kernels/gpu/group.h"
#include "kernels/gpu/kv_encode.h"
#include "kernels/gpu/lane_block.h"
#include "kernels/gpu/launch_shape.h"
#include "kernels/gpu/normalize.h"
#include "kernels/gpu/prefetch.h"
#include "kernels/gpu/product.h"
#include "kernels/gpu/quantize.h"
#include "kernels/gpu/read_memory.h"
#include "kernels/gpu/resolve.h"
#include "kernels/gpu/route.h"
#include "kernels/gpu/sample.h"
#include "kernels/gpu/turn.h"

namespace hearth::kernels {

struct GpuKernels {
  std::string_view name;  // "cuda", "hip", "emulated"
#define GPU_OPERATION(name, Task) void (*name)(const Task& task, NativeStream stream);
#include "kernels/gpu/operations.def"
#undef GPU_OPERATION
};

// Each is in a library of its own.
const GpuKernels& cuda_kernels();
const GpuKernels& hip_kernels();
const GpuKernels& emulated_kernels();

}  // namespace hearth::kernels
