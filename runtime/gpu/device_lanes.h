// The two lanes beside a device whose slots do not hold all experts: the link, over which its
// kernels gather experts from RAM while others are computed, and the CPU, which computes what is
// not fetched where it lies, in RAM or read from disk.
//
//   main    route → resolve → hand over ─┬─ hits ───────── wait ─ fetched ─ wait ─ norm
//   link                                 └─ gather ─────────┘                │
//   CPU                  doorbell: read, compute ────────────────────────────┘
//
// What the link does with the rest of its time is in device_prefetch.h; host_cache.h lets the host
// resolve, and nothing is captured or tried out then.
//
// A step of any decoder of the model is recorded with the addresses of what is here; its decisions
// (how many of a layer's misses are fetched, which experts are in RAM) are data that changes only
// between steps.
//
// The conductor calls all of it. While run() is under way the store, the pool and the lane block
// are those of the CPU lane. run() allocates nothing of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "profiler/lane_tuner.h"
#include "profiler/step_split.h"
#include "runtime/gpu/cpu_lane_thread.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/gpu/device_prefetch.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/host_cache.h"
#include "runtime/gpu/ram_sources.h"

namespace hearth::runtime {

class DeviceLanes {
 public:
  struct Plan {
    Bytes device;
    Bytes mapped;  // of the host, seen by the device
    Bytes host;    // working memory of the CPU lane
  };
  // For steps of at most `rows` tokens; `threads` of the engine.
  static Plan plan(const Model& model, std::uint32_t rows, std::uint32_t threads,
                   GpuCache cache = GpuCache::kDevice);
  // What a ladder of fetch tables has to be for.
  static profiler::LayerExperts experts_of_step(const Model& model, std::uint32_t rows);
  static profiler::PrefetchLink prefetch_link(const Model& model, profiler::BytesPerSecond rate);

  struct Options {
    std::uint32_t rows = 0;                          // of a step, at most
    profiler::FetchLadder fetches;                   // without rungs nothing is fetched
    std::optional<profiler::PrefetchLink> prefetch;  // none: nothing ahead
    GpuCache cache = GpuCache::kDevice;              // kHost: nothing ahead either
  };
  // All outlive it; the stream is that of the steps. Throws Error(kBudget) where memory of the plan
  // is not to be had.
  DeviceLanes(Engine& engine, ExpertArena& experts, kernels::Device& device,
              kernels::Stream& stream, const Options& options);

  // For what is recorded.
  const kernels::LaneBlock& block() const { return block_; }
  // Where whoever resolves reads them.
  const std::uint32_t* fetch_limits(LayerIndex layer) const;
  // What resolves in the place of kernels; null: they do.
  HostCache* host_cache() const { return host_cache_.get(); }
  kernels::Stream& link() const { return *link_; }
  void begin_link(kernels::Stream& stream) const;  // which goes on beside it
  // What the next layer's experts are guessed with, after begin_link(); null: none ever are.
  const DevicePrefetch* prefetch() const { return prefetch_ ? &*prefetch_ : nullptr; }
  const std::uint32_t* prefetch_limits(LayerIndex layer) const;
  kernels::Stream& begin_guess() const { return prefetch_->begin(*resolved_); }
  void end_link() const { link_->record(*gathered_); }
  void wait_for_link(kernels::Stream& stream) const { stream.wait(*gathered_); }
  void wait_for_cpu(kernels::Stream& stream, LayerIndex layer) const;
  // What was waited for, for who reads the CPU's results.
  const std::uint32_t* cpu_done() const { return &block_.control->done; }

  // Runs a step, which is enqueued when all is ready for it, to its end. Throws what prevented the
  // CPU lane from serving, which leaves all but the results of the step in order; and
  // Error(kDevice), also for a step that exceeds its bound, after which no other may follow.
  void run(FunctionRef<void()> enqueue, std::uint32_t rows);
  // Before a chunk of a prompt, which the lanes have no part in: what RAM has stays where it is.
  void begin_chunk();
  // Whether the next step, of so many rows, is to be recorded with guesses.
  bool prefetches(std::uint32_t rows) const {
    return prefetch_ && rows <= kMostPrefetchRows && tuner_.prefetches();
  }
  void used(LayerIndex layer, std::span<const std::uint16_t> experts) {
    sources_.used(layer, experts);
  }

  // Between steps: since the start.
  Nanoseconds time_on_host() const { return lane_->time_served(); }

  RamSources& sources() { return sources_; }

 private:
  struct Pieces {
    Pieces(const Model& model, std::uint32_t rows, DeviceArena& arena);
    std::uint32_t* limits;  // of fetches [classes][pairs + 1], then of prefetches
    PrefetchScratch prefetch;
  };

  void throw_if_under_way() const;
  const std::uint32_t* limits_of(LayerIndex layer, const std::uint32_t* all) const;
  void send_limits();
  void write_limits(std::uint8_t size_class, std::span<std::uint32_t> fetched,
                    std::span<std::uint32_t> prefetched) const;
  std::uint32_t classes() const;
  std::uint32_t slots_of_a_token(std::uint8_t size_class) const;

  Engine& engine_;
  ExpertArena& experts_;
  kernels::Device& device_;
  kernels::Stream& stream_;
  const std::uint32_t pairs_;
  const profiler::FetchLadder fetches_;
  profiler::LaneTuner tuner_;
  profiler::PrefetchCounts prefetches_;  // when the device last told
  std::uint32_t uncounted_steps_ = 0;    // since then

  std::unique_ptr<kernels::Stream> link_;
  std::unique_ptr<kernels::Event> resolved_, gathered_, finished_;
  DeviceArena memory_;
  const Pieces pieces_;
  std::optional<DevicePrefetch> prefetch_;
  std::vector<std::uint32_t> wanted_limits_;  // of the next step
  bool limits_sent_ = false;                  // as they are in host_limits_
  kernels::MappedMemory host_limits_, block_memory_;
  kernels::LaneBlock block_;

  io::Arena lane_memory_;
  StoredExpertBytes stored_;
  RamSources sources_;
  std::unique_ptr<CpuLane> lane_;
  std::unique_ptr<CpuLaneThread> thread_;
  std::unique_ptr<HostCache> host_cache_;
  bool under_way_ = false;  // also of a step that did not end
};

}  // namespace hearth::runtime
