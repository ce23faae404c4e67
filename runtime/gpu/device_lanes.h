// The two lanes beside a device whose slots do not hold all experts: the link, over which its
// kernels gather experts from RAM while others are computed, and the CPU, which computes what is
// not fetched where it lies, in RAM or read from disk.
//
//   main    route → resolve → hand over ─┬─ hits ───────── wait ─ fetched ─ wait ─ combine
//   link                                 └─ gather ─────────┘                │
//   CPU                  doorbell: read, compute ────────────────────────────┘
//
// A step of any decoder of the model is recorded with the addresses of what is here; its decisions
// (how many of a layer's misses are fetched, which experts are in RAM) are data that changes only
// between steps.
//
// The conductor calls all of it. While run() is under way the store, the pool and the lane block
// are those of the CPU lane. run() allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "profiler/split_tuner.h"
#include "profiler/step_split.h"
#include "runtime/gpu/cpu_lane_thread.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/gpu/expert_arena.h"
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
  static Plan plan(const Model& model, std::uint32_t rows, std::uint32_t threads);
  // What a ladder of fetch tables has to be for.
  static profiler::LayerExperts experts_of_step(const Model& model, std::uint32_t rows);

  // `fetches` without rungs: nothing is fetched. All else outlives it; the stream is that of the
  // steps. Throws Error(kBudget) where memory of the plan is not to be had.
  DeviceLanes(Engine& engine, ExpertArena& experts, kernels::Device& device,
              kernels::Stream& stream, std::uint32_t rows, profiler::FetchLadder fetches);

  // For what is recorded.
  const kernels::LaneBlock& block() const { return block_; }
  const std::uint32_t* fetch_limits(LayerIndex layer) const;
  kernels::Stream& link() const { return *link_; }
  void begin_link(kernels::Stream& stream) const;  // which goes on beside it
  void end_link() const { link_->record(*gathered_); }
  void wait_for_link(kernels::Stream& stream) const { stream.wait(*gathered_); }
  void wait_for_cpu(kernels::Stream& stream, LayerIndex layer) const;

  // Runs a recorded step to its end. Throws what prevented the CPU lane from serving, which leaves
  // all but the results of the step in order; and Error(kDevice), also for a step that exceeds its
  // bound, after which no other may follow.
  void run(const kernels::Graph& step, std::uint32_t rows);
  void used(LayerIndex layer, std::span<const std::uint16_t> experts) {
    sources_.used(layer, experts);
  }

  RamSources& sources() { return sources_; }
  // The number of slots of the arena has changed.
  void slots_changed() { limits_sent_ = kNoRung; }

 private:
  static constexpr std::uint32_t kNoRung = 0xffffffff;

  void send_limits();
  std::uint32_t slots_of_a_step(std::uint8_t size_class) const;

  Engine& engine_;
  ExpertArena& experts_;
  kernels::Device& device_;
  kernels::Stream& stream_;
  const std::uint32_t pairs_;
  const std::vector<std::uint8_t> class_of_layer_;
  const profiler::FetchLadder fetches_;
  profiler::SplitTuner tuner_;
  std::uint32_t limits_sent_ = kNoRung;  // their rung

  std::unique_ptr<kernels::Stream> link_;
  std::unique_ptr<kernels::Event> resolved_, gathered_, finished_;
  DeviceArena memory_;
  std::uint32_t* limits_ = nullptr;  // [classes][pairs + 1] on the device
  kernels::MappedMemory host_limits_, block_memory_;
  kernels::LaneBlock block_;

  io::Arena lane_memory_;
  StoredExpertBytes stored_;
  RamSources sources_;
  std::unique_ptr<CpuLane> lane_;
  std::unique_ptr<CpuLaneThread> thread_;
  bool under_way_ = false;  // also of a step that did not end
};

}  // namespace hearth::runtime
