// A placement plan for people (a table) and for programs (JSON, sizes in bytes).
#pragma once

#include <string>
#include <vector>

#include "profiler/planner.h"

namespace hearth::tools {

struct PlanReport {
  const profiler::ModelNeeds& needs;
  const profiler::PlacementPlan& plan;
  std::string model_path;
  Bytes file_bytes;                // with the weights, be they there or not
  std::string machine;             // with where its figures come from; empty: none
  std::string memory_from;         // what the budget is
  std::vector<std::string> notes;  // a line each, beside those of the plan
  std::vector<profiler::Advice> advice;
};

void print_plan(const PlanReport& report);  // on standard output
std::string plan_json(const PlanReport& report);

}  // namespace hearth::tools
