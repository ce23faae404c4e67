// The layers of a MoeModel on a modelled device: slots for some experts, RAM that the device reads
// for others, the CPU lane for the rest; a step is a graph that was captured once. All is made for
// one run and gone after it; a device whose memory was not given back ends the program.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "kernels/gpu/emulation/device.h"
#include "kernels/gpu/kernel_table.h"
#include "runtime/gpu/cpu_lane_thread.h"
#include "tests/sim/support/moe_model.h"

namespace hearth::sim {

// A mistake in the order of a layer, which the model must find.
enum class Mistake {
  kNone,
  kGatheredBeforeResolve,  // experts are gathered that an earlier layer missed
  kComputedBeforeGather,   // experts that were fetched are computed before they have arrived
  kCombinedBeforeTheCpu,   // the results of the CPU are not waited for
  kGuessIsAHit,            // what was prefetched is taken for there before its gather
  kGatheredAheadBeside,    // prefetches are gathered on a stream that nobody waits for
  kOneListOfGuesses,       // a list of prefetches is written while it is gathered
};

struct World {
  kernels::emulated::DeviceOptions device = {.streams = kernels::emulated::Streams::kScheduled};
  std::uint32_t slots = 3;
  std::uint32_t fetches = 1;     // of a layer's misses, at most
  std::uint32_t prefetches = 0;  // of the next layer's experts, at most; 0: none are guessed
  Mistake mistake = Mistake::kNone;
  std::optional<std::uint32_t> unreadable;  // an expert on disk
  bool cpu_answers = true;
  bool device_answers = true;  // else a step waits for a flag that nobody sets
};

// Every third expert is on disk, and arrives when the device has done something else.
class MemoryExperts final : public runtime::ExpertBytes {
 public:
  MemoryExperts(const MoeModel& model, std::optional<std::uint32_t> unreadable)
      : model_(model), unreadable_(unreadable) {}
  static bool on_disk(std::uint32_t expert) { return expert % 3 == 2; }
  void meanwhile(kernels::emulated::Schedule* schedule) { schedule_ = schedule; }

  void begin(LayerIndex layer, std::span<const std::uint16_t> experts) override;
  std::span<const runtime::ArrivedExpert> arrived() override;
  void poll() override { let_others_run(); }
  void computed() override {}
  void end() override { ends_ += 1; }
  void readable_again() { unreadable_.reset(); }
  int begins() const { return begins_; }
  int ends() const { return ends_; }

 private:
  void let_others_run();

  const MoeModel& model_;
  std::optional<std::uint32_t> unreadable_;
  kernels::emulated::Schedule* schedule_ = nullptr;
  std::vector<runtime::ArrivedExpert> waiting_, given_;
  std::vector<std::uint32_t> numbers_;
  int begins_ = 0, ends_ = 0;
};

class MoeOnDevice {
 public:
  MoeOnDevice(const MoeModel& model, const World& world);
  ~MoeOnDevice();

  // The residual stream behind the last layer; throws what ended the step.
  std::vector<float> step(const std::vector<float>& hidden);

  kernels::emulated::EmulatedDevice& device() { return *device_; }
  runtime::CpuLane& lane() { return *lane_; }
  const MemoryExperts& experts() const { return experts_; }
  void readable_again() { experts_.readable_again(); }
  std::uint64_t hits() const { return count(&kernels::ExpertCounters::hits); }  // so far
  std::uint64_t fetched() const { return count(&kernels::ExpertCounters::fetched); }
  std::uint64_t prefetched() const { return count(&kernels::ExpertCounters::prefetched); }
  std::uint64_t prefetches_used() const { return count(&kernels::ExpertCounters::prefetches_used); }
  std::uint64_t served_by_cpu() const { return count(&kernels::ExpertCounters::on_host); }

 private:
  struct Memory;

  std::uint64_t count(std::uint64_t kernels::ExpertCounters::* counter) const;
  template <typename T>
  T* on_device(std::size_t count);
  template <typename T>
  T* mapped(std::size_t count);
  template <typename T>
  void upload(T* to, const std::vector<T>& values);
  void take_memory();
  void put_experts_in_ram();
  void capture();
  struct Routed {
    float* logits;
    std::uint16_t* ids;
    float* weights;
    std::uint32_t* faults = nullptr;
  };

  void enqueue_layer(std::uint32_t layer);
  void enqueue_norm(bool adds_experts, const kernels::QuantizeTask::Destination& to);
  void enqueue_router(std::uint32_t layer, const Routed& to, kernels::Stream& stream);
  void enqueue_poison();
  void enqueue_product(const kernels::ExpertJob* jobs, std::uint32_t count);
  void enqueue_hand_over(std::uint32_t layer);
  void enqueue_guess(std::uint32_t next);

  const MoeModel& model_;
  const World world_;
  MemoryExperts experts_;
  std::unique_ptr<kernels::emulated::EmulatedDevice> device_;
  const kernels::GpuKernels& kernels_;
  std::unique_ptr<kernels::Stream> main_, copies_, guesses_, beside_;
  std::unique_ptr<kernels::Event> resolved_, gathered_, guessed_, ahead_, finished_;
  std::unique_ptr<Memory> memory_;  // what is still enqueued when buffers go reads it
  std::vector<kernels::DeviceBuffer> buffers_;
  std::vector<kernels::MappedMemory> mapped_;
  std::unique_ptr<kernels::Graph> graph_;
  kernels::WorkerPool pool_{1};
  io::Arena arena_;
  std::unique_ptr<runtime::CpuLane> lane_;
  std::unique_ptr<runtime::CpuLaneThread> thread_;  // where operations are done at once
};

}  // namespace hearth::sim
