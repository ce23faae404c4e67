// From what a model needs, what a machine has and what routing was recorded to a placement plan.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"
#include "profiler/machine.h"
#include "profiler/model_needs.h"
#include "profiler/placement_plan.h"
#include "profiler/slot_plan.h"

namespace hearth::profiler {

// At most one of ram, expert_ram and expert_share is set; none: what is available.
struct MemoryBudget {
  std::optional<Bytes> ram;            // everything the process holds
  std::optional<Bytes> expert_ram;     // the expert arena alone
  std::optional<double> expert_share;  // likewise, as a share of all expert bytes, 0 to 1
  std::optional<Bytes> vram;           // everything on the GPU
};

// The memory of a GPU.
struct GpuMemory {
  Bytes memory;
  Bytes reserved;  // driver, context, other programs: not to be had
};

struct PlanRequest {
  MemoryBudget budget;
  std::optional<GpuMemory> gpu;  // the one that computes; none: that of the machine
  Bytes available;  // memory this process may have: free now, or held by it; 0: unknown
  std::uint32_t context = 0;
  std::uint32_t threads = 1;
  std::string policy = "auto";  // or one of policy_names()
  bool prefetch = true;
  std::uint32_t depth = 0;  // of the prediction
};

// Throws Error(kBudget) stating the least budget that works, or that the system has less memory
// free than this would take; Error(kUsage) for an unknown policy.
PlacementPlan plan_placement(const ModelNeeds& needs, const PlanRequest& request,
                             const Machine* machine, const ExpertProfile* profile);

// Slots in RAM below a GPU that holds so many experts of each class for good: for all others as far
// as the budget reaches, and of each size at least for those that a layer reads at once. Throws as
// plan_placement().
void place_below(const ModelNeeds& needs, const PlanRequest& request,
                 std::span<const float> popularity, std::span<const std::uint32_t> held_of_class,
                 PlacementPlan& plan);

// Fewer bytes for experts than a plan has, divided among its classes, with at most `most` slots
// each. `popularity`: as of ExpertProfile, or empty.
SlotPlan divide_slots(const ModelNeeds& needs, std::span<const float> popularity,
                      std::span<const std::uint32_t> most, Bytes bytes);

// One change to what was asked for, and what it would give, best first.
struct Advice {
  std::string change;  // "8 GB more RAM", "a quantisation of 3.5 bits per weight"
  double tokens_per_second = 0;
};
std::vector<Advice> advise(const ModelNeeds& needs, const PlanRequest& request,
                           const Machine& machine, const ExpertProfile* profile);

}  // namespace hearth::profiler
