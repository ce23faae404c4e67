// What a GPU of this machine reaches: its memory, the link to the host's, alone and while the CPU
// computes, and what launches and the hand-over between the two cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/units.h"
#include "kernels/cpu_kernels.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "profiler/machine.h"

namespace hearth::tools {

struct GpuProbe {
  kernels::Device& device;
  const kernels::GpuKernels& kernels;
  const kernels::CpuKernels& cpu;
  // Of the host, at least 64 MiB: one half is pinned and goes over the link, the other is read by
  // the CPU. Overwritten.
  std::span<std::byte> memory;
  std::uint32_t threads = 1;                       // of the CPU
  Bytes device_memory;                             // of the device that is read, at most
  Bytes pinned;                                    // of the host, to see whether so much can be
  Nanoseconds time{};                              // of one measurement
  std::uint32_t layers = 1;                        // of the graph that is measured
  std::function<void(std::string_view)> progress;  // before each measurement; may throw to stop
};

// Rates are what a quarter of the repetitions exceed. `name` is that of the driver. The link is
// measured with pieces of at most 64 MiB; a layer is that of doctor_gpu_layer.h in a captured
// graph; the hand-over is a flag that the stream writes and one that it waits for, with a thread of
// the host that answers. Throws Error(kBudget): too little of the device's memory is free, or none
// of the host's can be pinned. Error(kDevice): the device failed, or does not see what the host
// writes.
profiler::GpuMachine measure_gpu(const GpuProbe& probe);

}  // namespace hearth::tools
