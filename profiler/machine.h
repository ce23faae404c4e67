// What a machine can do, measured (hearth doctor) or collected (configs/machines): the input of the
// cost model. Rates are bytes per second; all of them are what is reached, not what is printed on
// the box. Lists ascend: rates by threads, disk reads by size and then by depth; those of memory
// and disk have at least one entry (profiler/machine_toml.h refuses a file where that is not so).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace hearth::profiler {

using BytesPerSecond = double;

struct ThreadRate {
  std::uint32_t threads = 1;
  BytesPerSecond rate = 0;

  bool operator==(const ThreadRate&) const = default;
};

// Matrix-vector products of one weight format, weights in memory and not in caches.
struct KernelRate {
  std::string format;  // "Q4_K"
  std::vector<ThreadRate> rates;

  bool operator==(const KernelRate&) const = default;
};

struct DiskRate {
  Bytes read;               // size of one read
  std::uint32_t depth = 1;  // reads at once
  BytesPerSecond rate = 0;
  Nanoseconds latency{0};  // median of one read

  bool operator==(const DiskRate&) const = default;
};

struct CpuMachine {
  std::string name;             // "AMD Ryzen 7 5700X"
  std::string instruction_set;  // avx512, avx2, scalar
  std::uint32_t cores = 1;      // physical
  Bytes memory;                 // installed
  std::vector<ThreadRate> memory_read;
  std::vector<KernelRate> kernels;  // by name; empty in presets
  double kernel_efficiency = 0.85;  // of memory_read, for formats without a rate of their own
  // What a token takes beside reading weights, keys and values: the barriers between the operations
  // of a layer, norms, rotations and the router; and once a token, embedding and sampling.
  Nanoseconds layer_overhead{0};
  Nanoseconds token_overhead{0};

  bool operator==(const CpuMachine&) const = default;
};

struct DiskMachine {
  std::string name;  // "Samsung 980", file system
  bool io_uring = true;
  bool direct = true;  // O_DIRECT
  std::vector<DiskRate> random_reads;

  bool operator==(const DiskMachine&) const = default;
};

struct GpuMachine {
  std::string name;
  Bytes memory;
  Bytes reserved;                     // driver, context, desktop: not to be had
  BytesPerSecond memory_read = 0;     // reached by kernels
  BytesPerSecond host_to_device = 0;  // copy engine, pinned memory
  BytesPerSecond device_to_host = 0;
  BytesPerSecond gather = 0;                 // kernels reading pinned host memory
  BytesPerSecond host_to_device_shared = 0;  // while the CPU computes
  BytesPerSecond gather_shared = 0;          // likewise
  BytesPerSecond cpu_shared = 0;             // the CPU's kernels while the link is busy
  Nanoseconds layer_overhead{0};             // a captured layer beside reading weights
  Nanoseconds fetch_overhead{0};             // per layer in which experts come over the link
  Nanoseconds join_overhead{0};              // per layer in which the CPU takes part
  // Of no machine but a measured one, 0 elsewhere: a launch, a further node of a graph, and the
  // join where the host must be called for want of stream memory operations.
  Nanoseconds launch{0};
  Nanoseconds graph_node{0};
  Nanoseconds host_call{0};
  std::optional<Bytes> pinnable;  // host memory, where the system was seen to refuse more

  bool operator==(const GpuMachine&) const = default;
};

struct Machine {
  std::string name;
  std::string source;     // where the figures come from; "measured 2026-..."
  bool measured = false;  // on this very machine
  CpuMachine cpu;
  std::optional<DiskMachine> disk;
  std::optional<GpuMachine> gpu;

  bool operator==(const Machine&) const = default;
};

// Interpolated; below the least measured count in proportion to the threads, beyond the largest
// that of the largest.
BytesPerSecond memory_rate(const CpuMachine& cpu, std::uint32_t threads);
BytesPerSecond kernel_rate(const CpuMachine& cpu, const std::string& format, std::uint32_t threads);
// Of reads of this size at the depth that serves them best. Between two measured sizes the time of
// a read is interpolated, which is right for a fixed cost and a rate; a read below the least
// measured size takes as long as one of that size.
BytesPerSecond disk_rate(const DiskMachine& disk, Bytes read);

}  // namespace hearth::profiler
