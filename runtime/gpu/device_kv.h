// Keys and values of a session in the memory of a device, byte for byte as the host's
// (runtime/kv_cache.h), for as many positions as there is memory for now.
//
// Attention reads the tiles of a head side by side, so that more positions are other memory, into
// which the tiles are copied between steps. Layers are moved in groups, for the old and the new
// memory of a group are there at once. What is recorded with the addresses is stale then.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "kernels/kv/kv_layout.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/kv_cache.h"

namespace hearth::runtime {

class DeviceKv {
 public:
  struct Options {
    KvFormats formats;
    std::uint32_t context = 0;    // the most positions
    std::uint32_t positions = 0;  // at first
    std::uint32_t batch = 0;      // most rows of a step
  };
  // Bytes of the device, as they are taken, for so many positions. Throws what KvCache::needs
  // throws.
  static Bytes bytes_needed(const std::vector<KvLayer>& layers, const Options& options);

  // Throws Error(kBudget).
  DeviceKv(std::vector<KvLayer> layers, const Options& options, kernels::Device& device);

  const kernels::KvMemory& memory(LayerIndex layer, kernels::KvPart part) const {
    return layers_[layer][static_cast<std::size_t>(part)];
  }
  const KvFormats& formats() const { return options_.formats; }
  std::uint32_t context() const { return options_.context; }
  std::uint32_t positions() const { return options_.positions; }  // there is memory for
  // As KvCache::visit; addresses of the device.
  void visit(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) const;

  // Memory that is to be had for resize(), beside what there is.
  Bytes needed_to_resize(std::uint32_t positions, std::uint32_t kept) const;
  // Between steps: memory for so many positions, in which those before `kept` are as they were. The
  // stream is that of the steps. Throws Error(kBudget), and then those are as they were, wherever
  // they are now; where none is kept, there may be memory for none.
  void resize(std::uint32_t positions, std::uint32_t kept, kernels::Stream& stream);

 private:
  using Memory = std::array<kernels::KvMemory, 2>;  // keys, values
  struct Group {
    std::size_t begin = 0, end = 0;  // layers
    DeviceArena memory;
  };
  DeviceKv(std::vector<KvLayer> layers, const Options& options);  // without memory
  Bytes bytes(const Group& group, std::uint32_t positions) const;
  Memory carve(const KvLayer& layer, std::uint32_t positions, DeviceArena& arena) const;
  void move(Group& group, std::uint32_t positions, std::uint32_t kept, kernels::Stream& stream);
  void copy(const KvLayer& layer, const Memory& from, const Memory& to, std::uint32_t kept,
            kernels::Stream& stream) const;

  std::vector<KvLayer> kv_layers_;
  Options options_;
  kernels::Device* device_ = nullptr;
  profiler::KvNeeds needs_;
  std::vector<Group> groups_;
  std::vector<Memory> layers_;
};

}  // namespace hearth::runtime
