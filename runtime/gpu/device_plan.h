// What the engine asks the planner for a device: the memory that a model and a session take of it,
// counted by what will take it.
#pragma once

#include "kernels/gpu/device.h"
#include "profiler/placement_plan.h"
#include "runtime/plan_input.h"

namespace hearth::runtime {

void ask_for_device(const Model& model, const KvFormats& formats, kernels::Device& device,
                    PlanInput& input);

// Error(kBudget), with the least budget that works, where not all experts have a place on the
// device; `name` is its own.
void check_holds_all(const profiler::PlacementPlan& plan, const profiler::ModelNeeds& needs,
                     const std::string& name);

}  // namespace hearth::runtime
