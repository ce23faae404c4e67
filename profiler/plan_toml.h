// Placement plans as TOML: what hearth plan writes and --plan takes, read strictly.
//
// Bytes and counts are whole numbers; the experts to load first are written as layer × experts per
// layer + index, most wanted first, each with its expected uses per token.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "profiler/model_needs.h"
#include "profiler/placement_plan.h"

namespace hearth::profiler {

inline constexpr int kPlanVersion = 1;

std::string to_toml(const PlacementPlan& plan);
// Throws Error(kBadFile) naming key and line for what is missing, of a wrong type, out of range or
// contradicts itself, and Error(kUnsupported) for a newer version. `name` appears in messages.
// Of the prediction and hit rates, only what was printed is kept: they are not read back.
PlacementPlan parse_plan(std::string_view text, const std::string& name);

PlacementPlan load_plan(const std::string& path);
void save_plan(const std::string& path, const PlacementPlan& plan);  // atomically

// Throws Error(kBadInput) unless the plan is for this model and gives its parts the bytes that they
// need here.
void check_plan_of(const PlacementPlan& plan, const ModelNeeds& needs, const std::string& path);

}  // namespace hearth::profiler
