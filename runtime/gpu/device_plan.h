// What the engine asks the planner for a device: the memory that a model and a session take of it,
// counted by what will take it.
#pragma once

#include "kernels/gpu/device.h"
#include "profiler/placement_plan.h"
#include "runtime/plan_input.h"

namespace hearth::runtime {

void ask_for_device(const Model& model, const KvFormats& formats, kernels::Device& device,
                    PlanInput& input);

// Slots as the device counts them, for what the plan leaves for experts, which may be less than
// all of them: their classes are DeviceModel::classes().
void place_experts(const Model& model, const PlanInput& input, profiler::PlacementPlan& plan);

}  // namespace hearth::runtime
