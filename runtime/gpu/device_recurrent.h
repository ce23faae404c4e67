// What the recurrent layers of a session remember, in the memory of a device, byte for byte as the
// host's (runtime/recurrent_state.h).
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/recurrent_state.h"

namespace hearth::runtime {

class DeviceRecurrent {
 public:
  DeviceRecurrent(std::span<const RecurrentLayer> layers, DeviceArena& arena);

  float* state(LayerIndex layer) const { return at(places_[layer].state); }
  float* window(LayerIndex layer) const { return at(places_[layer].window); }
  // To what a new timeline begins with: zeros.
  void reset(kernels::Stream& stream) const;
  std::span<std::byte> memory() const { return {memory_, size_.count}; }

 private:
  float* at(std::uint64_t offset) const { return reinterpret_cast<float*>(memory_ + offset); }

  std::vector<RecurrentPlace> places_;
  std::byte* memory_ = nullptr;
  Bytes size_;
};

}  // namespace hearth::runtime
