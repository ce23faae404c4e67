// A model in the memory of a device: dense weights and experts, shared by the decoders of its
// sessions, which take turns. Where not all experts have a slot there, the others are fetched over
// the link or computed by the CPU, as a step asks for them (device_lanes.h); that changes no
// answer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "runtime/engine.h"
#include "runtime/gpu/device_lanes.h"
#include "runtime/gpu/device_weights.h"
#include "runtime/gpu/expert_arena.h"
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
    // Those that take the slots first, the most wanted first; after them the seed of the engine,
    // and the experts of early layers.
    std::vector<ExpertId> seed;
    // How many misses are fetched, for DeviceLanes::experts_of_step(); without rungs none is, and
    // slots keep what they were given.
    profiler::FetchLadder fetches;
  };
  // Layers whose experts need as much of a device share slots.
  static SizeClasses classes(const Model& model);
  // As many slots of each class as fit, the same share of all; all of them where they fit.
  static std::vector<std::uint32_t> slots_within(const Model& model, Bytes experts);

  // Bytes of the device, as they are taken.
  struct Plan {
    Bytes dense;
    Bytes experts;
    DeviceLanes::Plan lanes;
    Bytes total() const { return dense + experts + lanes.device; }
  };
  static Plan plan(const Model& model);
  // With fewer slots; `threads` of the engine.
  static Plan plan(const Model& model, std::span<const std::uint32_t> slots_of_class,
                   std::uint32_t threads);

  // Copies the weights of the engine, and as many experts as there are slots, which are read as far
  // as they are not in RAM. Engine, device and kernels outlive it. Throws Error(kBudget) where the
  // device has not the memory of the plan, Error(kDevice), and what reading throws.
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
  // Null where every expert has a slot for good.
  const DeviceLanes* lanes() const { return lanes_.get(); }
  // Runs a recorded step to its end, and throws what ended it before.
  void run(const kernels::Graph& step, std::uint32_t rows);
  // What that step chose.
  void used(LayerIndex layer, std::span<const std::uint16_t> experts);
  // The number of a step of any of the decoders, from 1 on: what experts are remembered by.
  std::uint32_t next_step() { return ++steps_; }

  // Of each layer, since the start; between steps.
  std::vector<kernels::ExpertCounters> counters() { return experts_.counters(); }
  // Between steps, where there are lanes: so many slots from now on, at most as many as at first.
  // Memory of slots that go is given back; new ones are filled, from disk where need be. Throws
  // Error(kBudget) where the device has not the memory, and what reading throws: then there are as
  // many slots as were to be had, and steps are right all the same.
  void set_slots(std::span<const std::uint32_t> slots_of_class);
  // Between steps, before others move or drop experts of the engine's store, or read into it; and
  // before its memory is given back to the system. The next step takes what is in RAM then.
  void leave_ram();

 private:
  void fill_slots();
  void change_slots(std::span<const std::uint32_t> slots_of_class);

  Engine& engine_;
  const Model& model_;
  kernels::Device& device_;
  const kernels::GpuKernels& kernels_;
  std::unique_ptr<kernels::Stream> stream_;
  DeviceWeights weights_;
  ExpertArena experts_;
  std::vector<ExpertId> wanted_;  // all experts, the most wanted first
  std::unique_ptr<DeviceLanes> lanes_;
  std::uint32_t steps_ = 0;
};

}  // namespace hearth::runtime
