// What the engine asks the planner: from the options and the header of the model's file.
#pragma once

#include <cstdint>

#include "profiler/planner.h"
#include "runtime/engine.h"

namespace hearth::runtime {

struct PlanInput {
  profiler::ModelNeeds needs;
  profiler::PlanRequest request;  // without `available`
};

// `alignment` is that of reads; `has_profile`: one is in memory, too.
PlanInput plan_input(const io::GgufFile& file, const Model& model, const EngineOptions& options,
                     std::uint64_t alignment, bool has_profile);

KvFormats kv_formats_of(const EngineOptions& options);

// What `wanted` in EngineOptions stands for.
std::uint32_t thread_count(std::uint32_t wanted);

}  // namespace hearth::runtime
