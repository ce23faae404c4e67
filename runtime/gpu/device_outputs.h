// What the host reads of a step when it is done, in memory that both see: logits, the likeliest
// token, the choices of the routers, and counts of what must not happen.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/sample.h"
#include "profiler/routing.h"
#include "runtime/model.h"

namespace hearth::runtime {

class DeviceOutputs {
 public:
  // For steps of at most `batch` rows. Throws Error(kBudget) where host memory cannot be pinned.
  DeviceOutputs(const Model& model, std::uint32_t batch, kernels::Device& device);

  // Addresses that both use.
  float* logits() const { return on<float>(logits_); }                        // [batch][vocabulary]
  kernels::Candidate* best() const { return on<kernels::Candidate>(best_); }  // [batch]
  std::uint32_t* unknown_tokens() const { return on<std::uint32_t>(0); }
  std::uint32_t* router_faults() const { return on<std::uint32_t>(0) + 1; }
  std::uint32_t* expert_faults() const { return on<std::uint32_t>(0) + 2; }
  // [batch][experts_used] of a MoE layer.
  std::uint16_t* chosen(LayerIndex layer) const { return on<std::uint16_t>(choices_[layer]); }
  float* chosen_weights(LayerIndex layer) const { return on<float>(weights_[layer]); }

 private:
  template <typename T>
  T* on(std::uint64_t place) const {
    return reinterpret_cast<T*>(memory_.data() + place);
  }

  std::uint64_t logits_ = 0, best_ = 0;
  std::vector<std::uint64_t> choices_, weights_;  // of each layer
  kernels::MappedMemory memory_;
};

}  // namespace hearth::runtime
