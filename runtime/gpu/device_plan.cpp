#include "runtime/gpu/device_plan.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/gpu/device_decoder.h"

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

}  // namespace

void ask_for_device(const Model& model, const KvFormats& formats, kernels::Device& device,
                    PlanInput& input) {
  const DeviceModel::Plan shared = DeviceModel::plan(model);
  const DeviceDecoder::Plan session =
      DeviceDecoder::plan(model, {.context = input.request.context, .formats = formats});
  const DeviceLanes::Plan lanes = DeviceLanes::plan(model, kMostDeviceRows, input.request.threads);
  input.needs.gpu = {
      .batch = kMostDeviceRows,
      .dense = shared.dense,
      .kv = session.kv,
      .state = session.state,
      .scratch = session.scratch + session.inputs + tables_of_all(model, input.needs),
      .beside = lanes.mapped + lanes.host};
  const kernels::DeviceMemory memory = device.memory();
  input.request.gpu = {.memory = memory.total, .reserved = memory.total - memory.free};
}

void place_experts(const Model& model, const PlanInput& input, profiler::PlacementPlan& plan) {
  profiler::TierPlan& vram = *plan.vram;
  const bool all = vram.slots() == plan.experts;
  plan.prefetch = false;  // it is the CPU's
  vram.scratch = vram.scratch - tables_of_all(model, input.needs);
  if (all) {
    plan.ram.scratch = Bytes(0);
    vram.slots_of_class = DeviceModel::classes(model).experts;
    vram.experts = DeviceModel::plan(model).experts;
    return;
  }
  const std::uint32_t threads = input.request.threads;
  vram.scratch += DeviceLanes::plan(model, kMostDeviceRows, threads).device;
  const Bytes budget = std::min(input.request.budget.vram.value_or(input.request.gpu->memory),
                                input.request.gpu->memory);
  const Bytes taken = vram.total() - vram.experts;
  vram.slots_of_class =
      DeviceModel::slots_within(model, budget > taken ? budget - taken : Bytes(0));
  vram.experts = DeviceModel::plan(model, vram.slots_of_class, threads).experts;
  if (vram.total() > budget)
    throw_error(ErrorCode::kBudget,
                "{} MiB of GPU memory are too little for this model: {} MiB are needed beside "
                "experts; lower --ctx-size, or compute without the GPU: --vram 0",
                budget / kMiB, (vram.total().count + kMiB.count - 1) / kMiB.count);
}

}  // namespace hearth::runtime
