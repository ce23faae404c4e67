// What the CPU of this machine reaches when it decodes: memory, kernels, and what a layer and a
// token cost beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "kernels/cpu_kernels.h"
#include "kernels/worker_pool.h"
#include "profiler/machine.h"

namespace hearth::tools {

// The format that most files are made of, whose rate stands for the CPU's.
inline constexpr std::string_view kCommonFormat = "Q4_K";

// 1, 2, 4 … and `most`; only 1 and `most` where `few`.
std::vector<std::uint32_t> thread_counts(std::uint32_t most, bool few);

struct CpuProbe {
  const kernels::CpuKernels& kernels;
  std::span<std::byte> memory;  // larger than the caches; overwritten
  std::vector<std::uint32_t> threads;
  Nanoseconds time{};                              // of one measurement of a kernel
  std::function<void(std::string_view)> progress;  // before each measurement; may throw to stop
};

std::vector<profiler::ThreadRate> measure_memory(const CpuProbe& probe);

// Of every weight format, by name. The work is that of decoding: rows of 2048 columns, one row of
// activations, a matrix of 8 MiB shared by all threads and cut as runtime/blocks/linear.cpp cuts
// it, weights that are in no cache. The rate is one that a quarter of the matrices exceed.
std::vector<profiler::KernelRate> measure_kernels(const CpuProbe& probe);

// The CPU's part of a layer while something else is measured: products of kCommonFormat with one
// row, from `memory`, which is filled first. Each call multiplies one matrix and returns its bytes.
std::function<Bytes()> product_load(kernels::WorkerPool& pool, const kernels::CpuKernels& kernels,
                                    std::span<std::byte> memory);

struct FixedCosts {
  Nanoseconds layer{};
  Nanoseconds token{};
};

// With the largest number of threads, what the shape of Qwen3-30B-A3B (2048 wide, 32
// heads of 128 and 4 of keys and values, 128 experts of which 8 are used, 768 wide) does around its
// products. A layer: six parallel regions, whose bodies here have no weights to read, and between
// them the norms, the rotation, the router's choice and the sums. A token: embedding, angles, the
// last norm, the check of 151,936 logits and the sampler with its default settings.
FixedCosts measure_fixed_costs(const CpuProbe& probe);

}  // namespace hearth::tools
