// One pass over the layers: what is computed, with what, into what.
#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/function_ref.h"
#include "base/ids.h"
#include "kernels/cpu_kernels.h"
#include "kernels/worker_pool.h"
#include "profiler/routing.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/prefetcher.h"
#include "runtime/kv_cache.h"
#include "runtime/scratch.h"

namespace hearth::runtime {

class ForcedRouting;

// Where the time of steps went. Waiting for the disk is counted by the expert store, and is part of
// the experts' time here.
struct StepTimes {
  Nanoseconds total{0};
  Nanoseconds attention{0};
  Nanoseconds experts{0};
  Nanoseconds ffn{0};  // of dense layers
  Nanoseconds head{0};
};

struct Step {
  std::span<const TokenId> tokens;
  std::uint32_t position = 0;  // of the first token

  const kernels::CpuKernels& kernels;
  kernels::WorkerPool& pool;
  ExpertStore& experts;
  Prefetcher& prefetcher;
  KvCache& kv;
  Scratch& scratch;
  const Clock& clock;
  StepTimes& times;
  FunctionRef<void(const profiler::Routing&)> on_routed;  // every decision, for recording
  const ForcedRouting* forced_routing = nullptr;          // takes the place of the routers' choices

  std::uint32_t rows() const { return static_cast<std::uint32_t>(tokens.size()); }
  float* hidden(std::uint32_t row) const {
    return scratch.hidden.data() + std::size_t{row} * scratch.shape.embedding;
  }
  float* block_out(std::uint32_t row) const {
    return scratch.block_out.data() + std::size_t{row} * scratch.shape.embedding;
  }
};

}  // namespace hearth::runtime
