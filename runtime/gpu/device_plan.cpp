#include "runtime/gpu/device_plan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "profiler/held_slots.h"
#include "runtime/gpu/device_prefill.h"
#include "runtime/gpu/expert_seed.h"

namespace hearth::runtime {
namespace {

Bytes all_slots(const profiler::ModelNeeds& needs) {
  Bytes total;
  for (const profiler::ExpertClass& one : needs.classes) total += one.device_slot * one.experts;
  return total;
}

// Tables of experts are small, and counted with all of them.
Bytes tables_of_all(const Model& model, const profiler::ModelNeeds& needs) {
  const Bytes experts = DeviceModel::plan(model).experts, slots = all_slots(needs);
  return experts > slots ? experts - slots : Bytes(0);
}

std::vector<std::uint32_t> held_of_classes(const Model& model, const profiler::TierPlan& vram,
                                           double share) {
  const SizeClasses classes = DeviceModel::classes(model);
  std::vector<std::uint32_t> held;
  for (std::uint8_t c = 0; c < classes.experts.size(); ++c) {
    const auto layers = std::ranges::count(classes.class_of_layer, c);
    held.push_back(profiler::held_slots(
        {.slots = vram.slots_of_class[c],
         .experts = classes.experts[c],
         .cycle = static_cast<std::uint32_t>(layers) * model.config.experts_used},
        share));
  }
  return held;
}

// Counted by the classes in RAM, which need not be those of the device.
std::vector<std::uint32_t> held_by_classes_of_ram(const Model& model,
                                                  const profiler::ModelNeeds& needs,
                                                  const profiler::PlacementPlan& plan) {
  std::vector<std::uint32_t> held(needs.classes.size());
  for (const ExpertId id : held_experts(model, plan)) held[needs.class_of_layer[id.layer]] += 1;
  return held;
}

// A share of the slots that are held, and whether both tiers have room for all experts then.
struct Held {
  double share = 1;
  bool all_in_memory = true;
};

Held held_as_planned(const profiler::PlacementPlan& plan, const profiler::ModelNeeds& needs) {
  const std::uint32_t slots = plan.vram->slots();
  Held held{.share = slots == 0 ? 0 : static_cast<double>(plan.vram->held()) / slots};
  for (std::size_t c = 0; c < needs.classes.size(); ++c)
    held.all_in_memory = held.all_in_memory && plan.slots_together(c) >= needs.classes[c].experts;
  return held;
}

// Slots as the device counts them may be fewer than planned: then so many more of them are held
// that as much is in memory.
void hold_experts(const Model& model, const PlanInput& input, Held held,
                  profiler::PlacementPlan& plan) {
  constexpr double kStep = 1.0 / 64;
  const std::vector<float> popularity = profiler::popularity_of_seed(plan, input.needs.space());
  for (;; held.share = std::min(held.share + kStep, 1.0)) {
    plan.vram->held_of_class = held_of_classes(model, *plan.vram, held.share);
    const std::vector<std::uint32_t> of_ram = held_by_classes_of_ram(model, input.needs, plan);
    profiler::place_below(input.needs, input.request, popularity, of_ram, plan);
    bool all = true;
    for (std::size_t c = 0; c < of_ram.size(); ++c)
      all = all && of_ram[c] + plan.ram.slots_of_class[c] >= input.needs.classes[c].experts;
    if (all || !held.all_in_memory || held.share == 1) return;
  }
}

// What more a session and the model have for chunks of prompts is nothing up to kMostDeviceRows.
profiler::GpuBatch batch_of(const Model& model, const DeviceRequest& request,
                            const PlanInput& input, std::uint32_t batch) {
  const DeviceDecoder::Plan session =
      DeviceDecoder::plan(model, {.context = input.request.context,
                                  .formats = request.formats,
                                  .positions = request.positions,
                                  .batch = std::max(batch, kMostDeviceRows)});
  const DeviceLanes::Plan lanes =
      DeviceLanes::plan(model, kMostDeviceRows, input.request.threads, request.cache);
  profiler::GpuBatch needs{
      .batch = batch,
      .kv = session.kv,
      .scratch = session.scratch + session.inputs + tables_of_all(model, input.needs),
      .streaming = lanes.device,
      .beside = lanes.mapped + lanes.host + Uploader::bytes_needed()};
  if (batch <= kMostDeviceRows) return needs;
  const DevicePrefill::Plan prefill = DevicePrefill::plan(model, batch);
  const ChunkExperts::Plan resident = ChunkExperts::plan(model, false);
  const ChunkExperts::Plan streamed = ChunkExperts::plan(model, true);
  needs.scratch += prefill.inputs + resident.device;
  needs.streaming += streamed.device - resident.device;
  needs.beside += prefill.pinned + streamed.pinned;
  return needs;
}

// From the one that was asked for down to steps; shorter ones than are worth it are none.
std::vector<std::uint32_t> batches(const ModelConfig& config, std::uint32_t asked) {
  const std::uint32_t shortest =
      std::max(std::min(asked, DevicePrefill::shortest(config, true)), kMostDeviceRows + 1);
  std::vector<std::uint32_t> all;
  for (std::uint32_t batch = std::min(asked, kMostPrefillRows); batch >= shortest; batch /= 2)
    all.push_back(batch);
  all.push_back(std::min(asked, kMostDeviceRows));
  return all;
}

void note_batch(const Model& model, std::uint32_t asked, bool streams,
                profiler::PlacementPlan& plan) {
  if (asked > kMostPrefillRows)
    plan.notes.push_back(fmt::format("a GPU takes at most {} tokens of a prompt at once, not {}",
                                     kMostPrefillRows, asked));
  const std::uint32_t shortest = DevicePrefill::shortest(model.config, streams);
  if (plan.batch <= kMostDeviceRows || plan.batch >= shortest) return;
  plan.notes.push_back(
      fmt::format("prompts pass the GPU in steps of {} tokens, not {}: a chunk of fewer than {} "
                  "would copy more "
                  "experts than these do",
                  kMostDeviceRows, plan.batch, shortest));
}

}  // namespace

std::vector<ExpertId> held_experts(const Model& model, const profiler::PlacementPlan& plan) {
  const SizeClasses classes = DeviceModel::classes(model);
  std::vector<std::uint32_t> left = plan.vram->held_of_class;
  std::vector<ExpertId> held;
  for (const ExpertId id : most_wanted_first(model.experts, plan.seed)) {
    std::uint32_t& more = left[classes.class_of_layer[id.layer]];
    if (more == 0) continue;
    more -= 1;
    held.push_back(id);
  }
  return held;
}

std::uint32_t first_positions(const profiler::PlacementPlan& plan, Bytes budget) {
  constexpr std::uint64_t kNextToNothing = 20;  // a twentieth of the budget
  constexpr std::uint32_t kLeast = 1024, kStep = 256;
  const profiler::TierPlan& vram = *plan.vram;
  if (plan.all_in_vram() || vram.kv * kNextToNothing <= budget) return plan.context;
  const std::uint64_t part = round_up(std::max(plan.context / 4, kLeast), kStep);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(part, plan.context));
}

Bytes budget_on_device(const PlanInput& input) {
  const Bytes memory = input.request.gpu->memory;
  return std::min(input.request.budget.vram.value_or(memory), memory);
}

void ask_for_device(const Model& model, kernels::Device& device, const DeviceRequest& request,
                    PlanInput& input) {
  profiler::GpuNeeds needs{
      .dense = DeviceModel::plan(model).dense,
      .state = DeviceDecoder::plan(model, {.context = 1, .formats = request.formats}).state,
      .dense_of_host = model.weights.vector_bytes(request.alignment)};
  for (const std::uint32_t batch : batches(model.config, input.needs.scratch.front().batch))
    needs.batches.push_back(batch_of(model, request, input, batch));
  input.needs.gpu = std::move(needs);
  const kernels::DeviceMemory memory = device.memory();
  const kernels::DeviceUse use = device.use();
  const Bytes used = memory.total - memory.free;
  const Bytes others = used > use.total() ? used - use.total() : Bytes(0);
  input.request.gpu = {.memory = memory.total - others,
                       .reserved = use.driver + device.properties().driver_growth};
}

void place_experts(const Model& model, const PlanInput& input, profiler::PlacementPlan& plan) {
  profiler::TierPlan& vram = *plan.vram;
  const bool all = plan.all_in_vram();
  const Held held = held_as_planned(plan, input.needs);
  note_batch(model, input.needs.scratch.front().batch, !all, plan);
  vram.scratch = vram.scratch - tables_of_all(model, input.needs);
  if (all) {
    plan.prefetch = false;
    plan.ram.scratch = Uploader::bytes_needed();
    vram.slots_of_class = DeviceModel::classes(model).experts;
    vram.experts = DeviceModel::plan(model).experts;
    return hold_experts(model, input, {}, plan);
  }
  const std::uint32_t threads = input.request.threads;
  const Bytes budget = budget_on_device(input);
  const Bytes taken = vram.total() - vram.experts;
  vram.slots_of_class =
      DeviceModel::slots_within(model, budget > taken ? budget - taken : Bytes(0));
  vram.experts = DeviceModel::plan(model, vram.slots_of_class, threads).experts;
  if (vram.total() > budget)
    throw_error(ErrorCode::kBudget,
                "{} MiB of GPU memory are too little for this model: {} MiB are needed beside "
                "experts; lower --ctx-size, or compute without the GPU: --vram 0",
                budget / kMiB, (vram.total().count + kMiB.count - 1) / kMiB.count);
  hold_experts(model, input, held, plan);
}

}  // namespace hearth::runtime
