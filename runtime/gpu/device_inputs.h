// What a step gets from the host: tokens, their position, and what follows from it in double
// precision. The host writes it where the device can copy it from, and the copy is the first work
// of every step, so that one captured graph serves all tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kernels/gpu/route.h"
#include "runtime/forced_routing.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/model.h"

namespace hearth::runtime {

class DeviceInputs {
 public:
  // Bytes on the device for steps of at most `batch` rows.
  static Bytes bytes_needed(const Model& model, const DeviceNeeds& needs, std::uint32_t batch);
  // The model outlives it. Throws Error(kBudget).
  DeviceInputs(const Model& model, const DeviceNeeds& needs, std::uint32_t batch,
               kernels::Device& device);

  // Of the step with this number; no step that was enqueued before is under way.
  void write(std::span<const TokenId> tokens, std::uint32_t position, std::uint32_t number);
  void upload(kernels::Stream& stream) const;  // enqueues the copy
  // The same for decisions that take the place of the routers' in a step that was written.
  void write_forced(const ForcedRouting& routing, std::uint32_t position, std::uint32_t rows);
  void upload_forced(kernels::Stream& stream) const;

  // Addresses on the device.
  const std::uint32_t* position() const { return on_device<std::uint32_t>(places_.position); }
  const std::uint32_t* number() const { return on_device<std::uint32_t>(places_.number); }
  // The same as the host wrote it.
  const std::uint32_t* number_on_host() const { return on_host<std::uint32_t>(places_.number); }
  const TokenId* tokens() const { return on_device<TokenId>(places_.tokens); }
  const float* cosine() const { return on_device<float>(places_.cosine); }  // [rows][rotary_stride]
  const float* sine() const { return on_device<float>(places_.sine); }
  std::uint32_t rotary_stride() const { return rotary_stride_; }
  const float* factors(const QueryStretch& stretch) const;  // [rows]
  kernels::ForcedRoutes forced(LayerIndex layer) const;     // of a MoE layer

 private:
  // Where each piece begins, in bytes.
  struct Places {
    Places(const Model& model, const DeviceNeeds& needs, std::uint32_t batch);
    std::uint64_t position, number, tokens, cosine, sine, factors;
    std::uint64_t forced, end;                              // what is forced comes last
    std::vector<std::uint64_t> forced_ids, forced_weights;  // of each layer
  };
  template <typename T>
  const T* on_device(std::uint64_t place) const {
    return reinterpret_cast<const T*>(device_ + place);
  }
  template <typename T>
  T* on_host(std::uint64_t place) const {
    return reinterpret_cast<T*>(host_.data() + place);
  }

  const Model& model_;
  std::vector<QueryStretch> stretches_;
  std::uint32_t batch_, rotary_stride_;
  Places places_;
  kernels::MappedMemory host_;
  DeviceArena memory_;
  std::byte* device_;
};

}  // namespace hearth::runtime
