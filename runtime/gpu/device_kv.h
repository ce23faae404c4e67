// Keys and values of a session in the memory of a device, byte for byte as the host's
// (runtime/kv_cache.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "kernels/kv/kv_layout.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/kv_cache.h"

namespace hearth::runtime {

class DeviceKv {
 public:
  // For steps of at most `batch` rows. The formats fit the layers (KvCache::needs).
  DeviceKv(const std::vector<KvLayer>& layers, const KvFormats& formats, std::uint32_t context,
           std::uint32_t batch, DeviceArena& arena);

  const kernels::KvMemory& memory(LayerIndex layer, kernels::KvPart part) const {
    return layers_[layer][static_cast<std::size_t>(part)];
  }
  const KvFormats& formats() const { return formats_; }
  std::uint32_t context() const { return context_; }

 private:
  KvFormats formats_;
  std::uint32_t context_;
  std::vector<std::array<kernels::KvMemory, 2>> layers_;  // keys, values
};

}  // namespace hearth::runtime
