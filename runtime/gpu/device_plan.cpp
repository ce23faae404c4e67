#include "runtime/gpu/device_plan.h"

#include "base/error.h"
#include "runtime/gpu/device_decoder.h"

namespace hearth::runtime {
namespace {

Bytes all_slots(const profiler::ModelNeeds& needs) {
  Bytes total;
  for (const profiler::ExpertClass& one : needs.classes) total += one.device_slot * one.experts;
  return total;
}

}  // namespace

void ask_for_device(const Model& model, const KvFormats& formats, kernels::Device& device,
                    PlanInput& input) {
  const DeviceModel::Plan shared = DeviceModel::plan(model);
  const DeviceDecoder::Plan session =
      DeviceDecoder::plan(model, {.context = input.request.context, .formats = formats});
  const Bytes slots = all_slots(input.needs);
  const Bytes tables = shared.experts > slots ? shared.experts - slots : Bytes(0);
  input.needs.gpu = {.batch = kMostDeviceRows,
                     .dense = shared.dense,
                     .kv = session.kv,
                     .state = session.state,
                     .scratch = session.scratch + session.inputs + tables};
  const kernels::DeviceMemory memory = device.memory();
  input.request.gpu = {.memory = memory.total, .reserved = memory.total - memory.free};
}

void check_holds_all(const profiler::PlacementPlan& plan, const profiler::ModelNeeds& needs,
                     const std::string& name) {
  if (plan.vram->slots() == plan.experts) return;
  const Bytes least = plan.vram->total() - plan.vram->experts + all_slots(needs);
  throw_error(
      ErrorCode::kBudget,
      "{}: {} of {} experts fit the memory that it may have, and a device computes with all "
      "of them; the least that works is --vram {}MiB: raise it, lower --ctx-size, or give "
      "--device none",
      name, plan.vram->slots(), plan.experts, (least.count + kMiB.count - 1) / kMiB.count);
}

}  // namespace hearth::runtime
