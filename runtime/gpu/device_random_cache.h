// RandomCache (runtime/random_cache.h) in the memory of a device: the same rows, stored and encoded
// by its kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/gpu/device_step.h"
#include "runtime/random_cache.h"

namespace hearth::runtime {

class DeviceRandomCache {
 public:
  // `layers` are those of the cache. Throws Error(kBudget) where host memory cannot be pinned.
  DeviceRandomCache(std::vector<KvLayer> layers, std::uint64_t seed, kernels::Device& device);

  // Enqueues the step's rows from `position` on, which its inputs have, too. What was enqueued
  // before is done.
  void append(const DeviceStep& step, std::uint32_t position) const;

 private:
  std::vector<KvLayer> layers_;
  RandomCache random_;
  kernels::MappedMemory rows_;  // of a step: [layers][keys, values][rows][heads][dim]
};

}  // namespace hearth::runtime
