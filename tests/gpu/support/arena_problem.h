// A few layers of experts in RAM, an arena for some of them on a device, and steps that resolve and
// gather. Slots are poisoned until they are filled.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/gpu/emulation/device.h"
#include "runtime/gpu/expert_arena.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::runtime {

class ArenaProblem {
 public:
  static constexpr std::uint32_t kUsed = 3;
  static constexpr Bytes kChunk{4096};  // at most, of the arena

  explicit ArenaProblem(const kernels::emulated::DeviceOptions& options = {});

  // Layers 0 and 2 share class 0, layer 3 has class 1, layer 1 has no experts.
  static ExpertSlots experts();
  static std::vector<ExpertId> all_experts();
  kernels::ExpertSource source(ExpertId id) const;

  // Resolves and gathers a layer of the step; fails the test where a job is given a slot that does
  // not hold its expert.
  void run_layer(ExpertArena& arena, LayerIndex layer, std::uint32_t step,
                 const std::vector<std::uint16_t>& ids);
  void run_step(ExpertArena& arena, std::uint32_t step, Random& random);
  // One step with no fetches, which hits what is there.
  std::vector<ExpertId> hits_of(ExpertArena& arena, std::uint32_t step);

  kernels::emulated::EmulatedDevice device;
  std::unique_ptr<kernels::Stream> stream;
  Uploader uploader;

 private:
  std::vector<std::byte> bytes_at(const std::byte* address, std::uint64_t bytes);
  void expect_in_slot(const kernels::ExpertJob& job, LayerIndex layer);

  kernels::TestDevice on_;
  kernels::MappedMemory ram_;
  std::uint32_t fetch_limit_ = 64;
  std::vector<ExpertId> hits_;  // of the last layer
};

}  // namespace hearth::runtime
