// What the engine asks the planner for a device: the memory that a model and a session take of it,
// counted by what will take it.
#pragma once

#include <vector>

#include "base/ids.h"
#include "kernels/gpu/device.h"
#include "profiler/placement_plan.h"
#include "runtime/engine.h"
#include "runtime/plan_input.h"

namespace hearth::runtime {

struct DeviceRequest {
  const KvFormats& formats;
  std::uint64_t alignment = 1;  // of reads
  std::uint32_t positions = 0;  // that keys and values have memory for at first
  GpuCache cache = GpuCache::kDevice;
};
// The batch asked for is the longest of prompts; at the least they go in steps like others.
void ask_for_device(const Model& model, kernels::Device& device, const DeviceRequest& request,
                    PlanInput& input);

// Of a plan with keys and values of the whole context: that many at first, for experts to have the
// rest until it is needed. All where they cost next to nothing, and where every expert has its slot
// all the same.
std::uint32_t first_positions(const profiler::PlacementPlan& plan, Bytes budget);

// The least of --vram and of what other programs leave.
Bytes budget_on_device(const PlanInput& input);

// Slots as the device counts them, for what the plan leaves for experts, which may be less than
// all of them, also of those that are held, by as much as in the plan. Slots in RAM are then those
// for the others.
void place_experts(const Model& model, const PlanInput& input, profiler::PlacementPlan& plan);
// The experts that are held then, which RAM need not keep.
std::vector<ExpertId> held_experts(const Model& model, const profiler::PlacementPlan& plan);

}  // namespace hearth::runtime
