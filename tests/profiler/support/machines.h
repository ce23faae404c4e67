// A machine with every part, whose figures are easy to compute with.
#pragma once

#include "profiler/machine.h"

namespace hearth::profiler {

inline Machine complete_machine() {
  using std::chrono::microseconds;
  return {
      .name = "a \"complete\" machine \\ für Tests",
      .source = "made up",
      .measured = true,
      .cpu = {.name = "eight cores",
              .instruction_set = "avx2",
              .cores = 8,
              .memory = 32 * kGiB,
              .memory_read = {{.threads = 1, .rate = 20e9},
                              {.threads = 2, .rate = 36e9},
                              {.threads = 8, .rate = 48'123'456'789.0}},
              .kernels = {{.format = "Q4_K", .rates = {{.threads = 2, .rate = 30e9}}},
                          {.format = "Q8_0",
                           .rates = {{.threads = 1, .rate = 18e9}, {.threads = 4, .rate = 36e9}}}},
              .kernel_efficiency = 0.85,
              .layer_overhead = Nanoseconds(40'001),
              .token_overhead = microseconds(300)},
      .disk =
          DiskMachine{
              .name = "a disk",
              .io_uring = true,
              .direct = false,
              .random_reads =
                  {{.read = 64 * kKiB, .depth = 1, .rate = 0.5e9, .latency = microseconds(131)},
                   {.read = 64 * kKiB, .depth = 8, .rate = 2e9, .latency = microseconds(260)},
                   {.read = kMiB, .depth = 8, .rate = 4e9, .latency = microseconds(2000)},
                   {.read = kMiB, .depth = 32, .rate = 3e9, .latency = microseconds(11000)}}},
      .gpu = GpuMachine{.name = "a card",
                        .memory = 12 * kGiB,
                        .reserved = 700 * kMiB,
                        .memory_read = 288e9,
                        .host_to_device = 25e9,
                        .device_to_host = 24e9,
                        .gather = 23e9,
                        .host_to_device_shared = 22e9,
                        .gather_shared = 21e9,
                        .cpu_shared = 16e9,
                        .layer_overhead = microseconds(12),
                        .fetch_overhead = microseconds(5),
                        .join_overhead = microseconds(15),
                        .launch = Nanoseconds(2'125),
                        .graph_node = Nanoseconds(1'300),
                        .host_call = microseconds(31),
                        .pinnable = 9 * kGiB},
  };
}

}  // namespace hearth::profiler
