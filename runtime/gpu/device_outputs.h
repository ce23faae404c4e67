// What the host reads of a step when it is done, in memory that both see: logits, the likeliest
// token, the choices of the routers, and counts of what must not happen.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/product.h"
#include "kernels/gpu/sample.h"
#include "profiler/routing.h"
#include "runtime/model.h"

namespace hearth::runtime {

class DeviceOutputs {
 public:
  // Bytes of pinned host memory, for steps of at most `batch` rows, and logits of at most
  // kMostLogitRows of them at a time.
  static constexpr std::uint32_t kMostLogitRows = kernels::kMostProductRows;
  static Bytes bytes_needed(const Model& model, std::uint32_t batch);
  // Throws Error(kBudget) where host memory cannot be pinned.
  DeviceOutputs(const Model& model, std::uint32_t batch, kernels::Device& device);

  // Addresses that both use.
  float* logits() const { return on<float>(places_.logits); }  // [rows][vocabulary]
  kernels::Candidate* best() const { return on<kernels::Candidate>(places_.best); }  // [rows]
  std::uint32_t* unknown_tokens() const { return counts(); }
  std::uint32_t* router_faults() const { return counts() + 1; }
  std::uint32_t* expert_faults() const { return counts() + 2; }
  // [batch][experts_used] of a MoE layer.
  std::uint16_t* chosen(LayerIndex layer) const {
    return on<std::uint16_t>(places_.choices[layer]);
  }
  float* chosen_weights(LayerIndex layer) const { return on<float>(places_.weights[layer]); }

 private:
  template <typename T>
  T* on(std::uint64_t place) const {
    return reinterpret_cast<T*>(memory_.data() + place);
  }

  std::uint32_t* counts() const { return on<std::uint32_t>(places_.counts); }

  // Where each piece begins, in bytes.
  struct Places {
    Places(const Model& model, std::uint32_t batch);
    std::uint64_t counts, best, logits, end = 0;
    std::vector<std::uint64_t> choices, weights;  // of each layer
  };
  Places places_;
  kernels::MappedMemory memory_;
};

}  // namespace hearth::runtime
