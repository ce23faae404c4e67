// A model in the memory of a device: dense weights and experts, shared by the decoders of its
// sessions, which take turns.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "runtime/engine.h"
#include "runtime/gpu/device_weights.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/uploader.h"

namespace hearth::runtime {

// Of a step; what products take at once.
inline constexpr std::uint32_t kMostDeviceRows = kernels::kMostProductRows;

class DeviceModel {
 public:
  // Bytes of the device, as they are taken.
  struct Plan {
    Bytes dense;
    Bytes experts;
    Bytes total() const { return dense + experts; }
  };
  static Plan plan(const Model& model);

  // Copies the weights of the engine, and all its experts, which are read as far as they are not in
  // RAM. Engine, device and kernels outlive it. Throws Error(kBudget) where the device has not the
  // memory of the plan, Error(kDevice), and what reading throws.
  DeviceModel(Engine& engine, kernels::Device& device, const kernels::GpuKernels& kernels);

  const Model& model() const { return model_; }
  kernels::Device& device() const { return device_; }
  const kernels::GpuKernels& kernels() const { return kernels_; }
  kernels::Stream& stream() const { return *stream_; }
  const DeviceWeights& weights() const { return weights_; }
  const ExpertArena& experts() const { return experts_; }
  // The number of a step of any of the decoders, from 1 on: what experts are remembered by.
  std::uint32_t next_step() { return ++steps_; }

 private:
  const Model& model_;
  kernels::Device& device_;
  const kernels::GpuKernels& kernels_;
  std::unique_ptr<kernels::Stream> stream_;
  DeviceWeights weights_;
  ExpertArena experts_;
  std::uint32_t steps_ = 0;
};

}  // namespace hearth::runtime
