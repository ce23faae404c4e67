// Where the experts of a chunk of a prompt are. A chunk has rows for nearly all experts of a layer,
// so that each is used once, at one place, by all of its rows: those with a slot where they are,
// the others from two staging buffers that take turns.
//
//   link   │ wave 0 → A │ wave 1 → B │ wave 2 → A │ wave 3 → B …
//   main     attention …  │ wave 0   │ wave 1     │ attention … │ wave 2 …
//
// Which expert passes in which wave follows from the slots before the chunk, for a chunk gives and
// takes none: what decoding keeps on the device is there afterwards. So the host enqueues a whole
// chunk without waiting for the device, and the link runs up to two waves ahead of what computes.
// All experts without a slot are copied, whether a row chose them or not: that is not known before
// the layer has been routed, and whoever begins a chunk has compared the bytes
// (DevicePrefill::shortest).
//
// An expert in RAM that the device maps goes by the copy engine from where it lies; one that is on
// disk, or in memory that is not pinned, is read or copied through pinned pieces, for which the
// host waits.
//
// Ordering. A wave is copied after what computed the last one in its buffer (`computed`), and
// computed after its copy (`there`). What RAM has must not move while a chunk is under way, which
// is why it is leased (ram_sources.h). Used by the conductor.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/gpu/group.h"
#include "runtime/engine.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/device_work.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/expert_bytes.h"
#include "runtime/gpu/uploader.h"

namespace hearth::runtime {

class ChunkExperts {
 public:
  // Of a staging buffer. Two of them hide the start of a copy and what lies between two layers;
  // more would only take slots from decoding, as the link is what limits a chunk with misses.
  static constexpr Bytes kMostStaging = 64 * kMiB;

  struct Plan {
    Bytes device;
    Bytes pinned;  // of the host
  };
  // `streams`: there may be fewer slots than experts.
  static Plan plan(const Model& model, bool streams, Bytes most_staging = kMostStaging);

  // All outlive it; the stream is that of the kernels. Throws Error(kBudget).
  ChunkExperts(Engine& engine, ExpertArena& experts, kernels::Device& device,
               kernels::Stream& stream, bool streams, Bytes most_staging = kMostStaging);

  // Before a chunk, with nothing under way: looks where experts are, if they have moved.
  void begin(bool moved);

  // For what a chunk enqueues. Experts [first, first + count) of a layer's list are in a buffer
  // together.
  struct Wave {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t buffer = 0;
  };
  // The list of a layer, in device memory: those with slots come first.
  const kernels::GroupedExpert* experts(LayerIndex layer) const;
  std::uint32_t resident(LayerIndex layer) const { return layers_[layer].resident; }
  std::span<const Wave> waves(LayerIndex layer) const { return layers_[layer].waves; }
  // The stream goes on when the experts of the wave are there. Throws what reading throws.
  void bring(LayerIndex layer, const Wave& wave);
  void computed(const Wave& wave);  // what reads the wave has been enqueued

  const ChunkCounters& counters() const { return counters_; }  // since the start

 private:
  struct LayerList {
    std::uint32_t resident = 0;
    std::vector<Wave> waves;
  };
  struct Buffer {
    std::byte* memory = nullptr;
    std::unique_ptr<kernels::Event> there, computed;
  };

  const kernels::GroupedExpert& listed(LayerIndex layer, std::uint32_t index) const;
  void look();
  void list(LayerIndex layer, std::uint32_t& wave);
  void bring_stored(LayerIndex layer);

  const ExpertSpace space_;
  ExpertArena& arena_;
  kernels::Stream& stream_;
  DeviceArena memory_;
  kernels::GroupedExpert* on_device_;
  kernels::MappedMemory host_memory_;
  kernels::GroupedExpert* host_;  // [layers][experts of a layer], as on the device
  std::vector<LayerList> layers_;
  bool listed_ = false;
  ChunkCounters counters_;

  // Where there are waves.
  std::uint64_t staging_bytes_ = 0;
  std::array<Buffer, 2> buffers_;
  std::unique_ptr<kernels::Stream> link_;
  std::unique_ptr<Uploader> uploader_;
  std::unique_ptr<StoredExpertBytes> stored_;
  std::vector<std::uint16_t> not_mapped_;  // of a wave
  std::vector<std::byte*> places_;         // likewise
};

}  // namespace hearth::runtime
