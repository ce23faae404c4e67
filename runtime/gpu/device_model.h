// A model in the memory of a device: dense weights and experts, shared by the decoders of its
// sessions, which take turns. Where not all experts have a slot there, the others are fetched over
// the link or computed by the CPU, as a step asks for them (device_lanes.h); that changes no
// answer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "runtime/engine.h"
#include "runtime/gpu/chunk_experts.h"
#include "runtime/gpu/device_lanes.h"
#include "runtime/gpu/device_weights.h"
#include "runtime/gpu/device_work.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/lane_times.h"
#include "runtime/gpu/uploader.h"

namespace hearth::runtime {

// Of a step; what products take at once.
inline constexpr std::uint32_t kMostDeviceRows = kernels::kMostProductRows;

class DeviceModel {
 public:
  struct Options {
    // Of each of classes(), at most as many as it has experts; empty: every expert has a slot,
    // which is its for good.
    std::vector<std::uint32_t> slots_of_class;
    // Of these, how many are held for good, the first that are filled; empty: none. All others
    // follow what steps use.
    std::vector<std::uint32_t> held_of_class;
    // Those that take the slots first, the most wanted first; after them the seed of the engine,
    // and the experts of early layers.
    std::vector<ExpertId> seed;
    // How many misses are fetched, for DeviceLanes::experts_of_step(); without rungs none is, and
    // slots keep what they were given.
    profiler::FetchLadder fetches;
    // Of all that this process takes of the device, its driver's memory included; none: what there
    // is.
    std::optional<Bytes> budget;
    // Tokens of a prompt that pass at once; up to kMostDeviceRows these are steps like others.
    std::uint32_t batch = kMostDeviceRows;
    Bytes most_staging = ChunkExperts::kMostStaging;
    // DeviceLanes::prefetch_link(): what is prefetched in the idle time of the link; or nothing is.
    std::optional<profiler::PrefetchLink> prefetch;
    GpuCache cache = GpuCache::kDevice;  // where slots follow what steps use; kHost: no prefetch
  };
  // Those of the plan (ModelNeeds::classes), with slots of a device.
  static SizeClasses classes(const Model& model);
  // As many slots of each class as fit, the same share of all; all of them where they fit.
  static std::vector<std::uint32_t> slots_within(const Model& model, Bytes experts);

  // Bytes of the device, as they are taken.
  struct Plan {
    Bytes dense;
    Bytes experts;
    DeviceLanes::Plan lanes;
    ChunkExperts::Plan chunks;
    Bytes total() const { return dense + experts + lanes.device + chunks.device; }
  };
  static Plan plan(const Model& model, std::uint32_t batch = kMostDeviceRows);
  // With fewer slots; `threads` of the engine.
  static Plan plan(const Model& model, std::span<const std::uint32_t> slots_of_class,
                   std::uint32_t threads, std::uint32_t batch = kMostDeviceRows);

  // Copies the weights of the engine, and as many experts as there are slots; what is not in RAM is
  // read from disk, and is not in RAM afterwards. Engine, device and kernels outlive it. Throws
  // Error(kBudget) where the device has not the memory of the plan, Error(kDevice), and what
  // reading throws.
  DeviceModel(Engine& engine, kernels::Device& device, const kernels::GpuKernels& kernels)
      : DeviceModel(engine, device, kernels, {}) {}
  DeviceModel(Engine& engine, kernels::Device& device, const kernels::GpuKernels& kernels,
              const Options& options);

  const Model& model() const { return model_; }
  kernels::Device& device() const { return device_; }
  const kernels::GpuKernels& kernels() const { return kernels_; }
  kernels::Stream& stream() const { return *stream_; }
  const DeviceWeights& weights() const { return weights_; }
  const ExpertArena& experts() const { return experts_; }
  // Whether an expert stays in its slot whatever steps use, so that RAM needs none for it; between
  // steps.
  bool holds(ExpertId id) const { return lanes_ == nullptr || experts_.holds(id); }
  // All experts, the most wanted first.
  std::span<const ExpertId> wanted() const { return wanted_; }
  // Null where every expert has a slot for good.
  const DeviceLanes* lanes() const { return lanes_.get(); }
  // Before a chunk of a prompt: where its experts are, until the next step. Null where a batch is
  // no more than a step.
  ChunkExperts* begin_chunk();
  void end_chunk();  // one that was finished
  // Runs a step, which is enqueued when all is ready for it, to its end; throws what ended it
  // before.
  void run(FunctionRef<void()> enqueue, std::uint32_t rows);
  // What decides about experts in the middle of a step, which no graph can be captured of; null:
  // nothing does.
  HostCache* host_cache() const { return lanes_ == nullptr ? nullptr : lanes_->host_cache(); }
  // Whether the next step is to be recorded with guesses, and whether any ever is.
  bool prefetches(std::uint32_t rows) const {
    return lanes_ != nullptr && lanes_->prefetches(rows);
  }
  bool may_prefetch() const { return lanes_ != nullptr && lanes_->prefetch() != nullptr; }
  // What that step chose.
  void used(LayerIndex layer, std::span<const std::uint16_t> experts);
  // The number of a step of any of the decoders, from 1 on: what experts are remembered by.
  std::uint32_t next_step() { return ++steps_; }

  // Of each layer, since the start; between steps.
  std::vector<kernels::ExpertCounters> counters();
  DeviceWork work();  // likewise, and in all; what asking costs is not in it
  // Between steps: those that follow are timed, lane by lane, from zero on; or no longer. For
  // devices with DeviceProperties::marks_graphs, and steps that are graphs.
  void time_lanes(bool wanted);
  // Null: they are not timed.
  LaneTimes* lane_times() const { return times_lanes_ ? lane_times_.get() : nullptr; }
  profiler::PrefetchCounts prefetches() { return prefetches_of(counters()); }
  // Between steps, where there are lanes: so many slots from now on, at most as many as at first.
  // Memory of slots that go is given back; new ones are filled, from disk where need be. Slots that
  // are held go last, and what was in them is where it is in RAM or on disk. Throws
  // Error(kBudget) where the device has not the memory, and what reading throws: then there are as
  // many slots as were to be had, and steps are right all the same.
  void set_slots(std::span<const std::uint32_t> slots_of_class);
  // As set_slots(); slots that are taken back later are no more than these.
  void bound_slots(std::span<const std::uint32_t> slots_of_class);
  // Between steps: whether the budget and the device have so much left.
  bool has_room(Bytes bytes) const { return missing(bytes) == Bytes(0); }
  // Likewise, before somebody takes so much, or after the driver took some. Where it is not there,
  // experts give up slots, and the engine gives notice of it. Throws Error(kBudget), which names
  // `what`, where they have not enough to give.
  void make_room(Bytes bytes, std::string_view what);
  bool try_make_room(Bytes bytes, std::string_view what);  // false instead of the error
  // Likewise, after memory was given back: slots that were given up, as far as there is room.
  // Throws what reading throws.
  void take_slots_back();
  // Between steps, before others move or drop experts of the engine's store, or read into it; and
  // before its memory is given back to the system. The next step takes what is in RAM then.
  void leave_ram();
  // What that step would do first, and pinning much memory takes long.
  void enter_ram();

 private:
  void fill_slots();
  void change_slots(std::span<const std::uint32_t> slots_of_class);
  Bytes missing(Bytes bytes) const;
  std::vector<std::uint32_t> slots() const;
  // The same share of most_slots_ in each class, whose memory is no more than that.
  std::vector<std::uint32_t> share_within(Bytes memory) const;

  Engine& engine_;
  const Model& model_;
  kernels::Device& device_;
  const kernels::GpuKernels& kernels_;
  std::unique_ptr<kernels::Stream> stream_;
  Uploader uploader_;
  DeviceWeights weights_;
  ExpertArena experts_;
  std::vector<ExpertId> wanted_;  // all experts, the most wanted first
  std::unique_ptr<DeviceLanes> lanes_;
  bool times_lanes_ = false;
  std::unique_ptr<LaneTimes> lane_times_;  // as long as there are graphs with its moments
  std::unique_ptr<ChunkExperts> chunks_;
  bool moved_ = false;  // experts, since the last chunk
  std::uint32_t steps_ = 0;
  const std::optional<Bytes> budget_;
  std::vector<std::uint32_t> most_slots_;  // as at first, or as bounded
  std::uint64_t steps_run_ = 0;
  std::uint64_t chunks_run_ = 0, waits_before_chunks_ = 0;
  kernels::DeviceCalls before_chunk_, of_chunks_;
  std::uint64_t polled_ = 0;    // steps whose end was seen without a call to wait
  kernels::DeviceCalls looks_;  // of the calls those before the first step, and by counters()
};

}  // namespace hearth::runtime
