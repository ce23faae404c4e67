// Plans: what an engine would take, before there is one.
#include "profiler/plan_toml.h"

#include "api/handles.h"
#include "runtime/available_memory.h"
#include "runtime/model_identity.h"
#include "runtime/plan_input.h"

namespace hearth::border {
namespace {

constexpr std::size_t kFirstFacts =
    offsetof(hearth_plan_facts, policy) + sizeof(hearth_plan_facts::policy);

profiler::PlacementPlan make_plan(const runtime::EngineOptions& options) {
  const io::GgufFile file = io::GgufFile::open(options.model_path, runtime::block_shape_of,
                                               io::GgufFile::Data::kMayBeMissing);
  const auto model = runtime::build_model(file);
  const auto profile = options.find_profile ? options.find_profile(file, *model) : nullptr;
  // Slots depend on how reads are aligned, which the file system says.
  const std::uint64_t alignment = options.open_reader(file.paths(), options.io)->alignment();
  auto [needs, request] = runtime::plan_input(file, *model, options, alignment, profile != nullptr);
  needs.model = runtime::identity_of(file);
  request.available = runtime::available_memory(options.resident());
  return profiler::plan_placement(needs, request, nullptr, profile.get());
}

hearth_plan_facts facts_of(const profiler::PlacementPlan& plan) {
  const profiler::TierPlan& ram = plan.ram;
  return {.size = sizeof(hearth_plan_facts),
          .total = ram.total().count,
          .process = ram.process.count,
          .dense = ram.dense.count,
          .keys_and_values = ram.kv.count,
          .recurrent_state = ram.state.count,
          .scratch = ram.scratch.count,
          .experts = ram.experts.count,
          .expert_slots = ram.slots(),
          .all_experts = plan.experts,
          .context = plan.context,
          .batch = plan.batch,
          .threads = plan.threads,
          .first_experts = static_cast<std::uint32_t>(plan.seed.size()),
          .policy = plan.policy.c_str(),
          .vram = plan.vram ? plan.vram->total().count : 0,
          .vram_slots = plan.vram ? plan.vram->slots() : 0,
          .reserved = 0};
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_plan_make(const char* model_path, const hearth_engine_options* options,
                               hearth_plan** plan) {
  return guarded([&] {
    required(plan, "plan");
    check_plannable(options);
    *plan = new hearth_plan{make_plan(engine_options(model_path, options))};
  });
}

hearth_status hearth_plan_load(const char* path, hearth_plan** plan) {
  return guarded([&] {
    required(plan, "plan");
    *plan = new hearth_plan{hearth::profiler::load_plan(path_of(path, "path"))};
  });
}

hearth_status hearth_plan_save(const hearth_plan* plan, const char* path) {
  return guarded(
      [&] { hearth::profiler::save_plan(path_of(path, "path"), required(plan, "plan").plan); });
}

hearth_status hearth_plan_close(hearth_plan* plan) {
  delete plan;
  return HEARTH_OK;
}

hearth_status hearth_plan_facts_of(const hearth_plan* plan, hearth_plan_facts* facts) {
  return guarded([&] { fill(facts, facts_of(required(plan, "plan").plan), kFirstFacts, "facts"); });
}
}
