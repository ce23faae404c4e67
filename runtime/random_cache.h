// Keys and values that nobody computed, to measure the speed of decoding behind many positions
// without the prefill that would put them there.
//
// Rows are drawn from a few hundred of normally distributed values, as heads leave a norm, and go
// into the cache the way computed ones do: stored row by row, encoded tile by tile. What is then
// computed behind them costs what it costs behind a text, and means nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/worker_pool.h"
#include "runtime/kv_cache.h"
#include "runtime/scratch.h"

namespace hearth::runtime {

class RandomCache {
 public:
  // `layers` are those of the cache.
  RandomCache(std::vector<KvLayer> layers, std::uint64_t seed);

  // Rows of positions [position, position + rows), at most as many as a step of the cache has.
  void append(const KvCache& kv, kernels::WorkerPool& pool, Scratch& scratch,
              std::uint32_t position, std::uint32_t rows) const;
  // That of a position; as many floats as the head has.
  const float* row(LayerIndex layer, kernels::KvPart part, std::uint32_t head,
                   std::uint32_t position) const;

 private:
  std::vector<KvLayer> layers_;
  std::uint32_t width_ = 0;    // of the widest head
  std::vector<float> values_;  // [kRows][width_]
};

}  // namespace hearth::runtime
