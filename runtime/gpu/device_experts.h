// The routed experts of a model in the memory of a device: slots, and the tables by which its
// kernels find them (kernels/gpu/expert_tables.h). Every expert has a slot and keeps it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "kernels/gpu/resolve.h"
#include "runtime/experts/expert_store.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/uploader.h"
#include "runtime/model.h"

namespace hearth::runtime {

class DeviceExperts {
 public:
  static Bytes bytes_needed(const Model& model);
  // Takes the memory; the model outlives it. Throws Error(kBudget).
  DeviceExperts(const Model& model, kernels::Device& device);
  // Copies all experts from the store, which reads those that are not in RAM. Throws what it
  // throws.
  void fill(ExpertStore& store, Uploader& uploader) const;

  // What resolves the routing of a layer, but for its input and its lists.
  kernels::ResolveTask task(LayerIndex layer) const;
  const LayerExperts& layer(LayerIndex layer) const { return model_.experts.layer(layer); }

 private:
  // Slots of one size, shared by the layers whose experts need as much.
  struct SlotClass {
    std::uint64_t slot_bytes = 0;
    std::uint32_t first_slot = 0;
    std::uint32_t slots = 0;
  };
  // What lies where.
  struct Places {
    Places(const Model& model, DeviceArena& arena);

    std::vector<SlotClass> classes;
    std::vector<std::uint32_t> class_of_layer;
    std::vector<std::byte*> slots;
    kernels::ExpertTables tables;
    std::byte** addresses = nullptr;           // tables.addresses
    kernels::ExpertSource* sources = nullptr;  // tables.sources
  };

  void fill_tables(std::span<const std::uint32_t> slot_of, std::span<const std::uint32_t> owner_of,
                   Uploader& uploader) const;

  const Model& model_;
  DeviceArena memory_;
  Places at_;
};

}  // namespace hearth::runtime
