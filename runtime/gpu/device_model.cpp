#include "runtime/gpu/device_model.h"

#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "runtime/gpu/expert_seed.h"

namespace hearth::runtime {
namespace {

// Layers whose experts need as much of a device share slots; all experts have one.
SizeClasses device_classes(const Model& model) {
  return size_classes(model.experts, kernels::kSlotAlignment);
}

std::vector<ExpertId> all_experts(const ExpertCatalog& catalog) {
  std::vector<ExpertId> all;
  for (std::uint32_t flat = 0; flat < catalog.space().size(); ++flat)
    if (catalog.has(catalog.space().id(flat))) all.push_back(catalog.space().id(flat));
  return all;
}

// The kernels take so much and no more.
const Model& checked(const Engine& engine) {
  const ModelConfig& config = engine.config();
  const auto refuse = [&](const char* what, std::uint32_t has, std::uint32_t most) {
    throw_error(ErrorCode::kUnsupported,
                "{}: the model has {} {}, a device computes at most {}; run it without one",
                engine.file().name(), has, what, most);
  };
  constexpr std::uint32_t kMostUsed = kernels::kMostResolvedPairs / kMostDeviceRows;
  static_assert(kMostUsed <= kernels::kMostExpertsUsed);
  if (config.experts > kernels::kMostRoutedExperts)
    refuse("experts in a layer", config.experts, kernels::kMostRoutedExperts);
  if (config.experts_used > kMostUsed)
    refuse("experts for each token", config.experts_used, kMostUsed);
  return engine.model();
}

}  // namespace

DeviceModel::Plan DeviceModel::plan(const Model& model) {
  const SizeClasses classes = device_classes(model);
  return {
      .dense = DeviceWeights::bytes_needed(model.weights),
      .experts = ExpertArena::bytes_needed(expert_slots(model.experts, classes), classes.experts)};
}

DeviceModel::DeviceModel(Engine& engine, kernels::Device& device,
                         const kernels::GpuKernels& kernels)
    : model_(checked(engine)),
      device_(device),
      kernels_(kernels),
      stream_(device.new_stream(kernels::StreamPriority::kNormal)),
      weights_(model_.weights, device),
      experts_(expert_slots(model_.experts, device_classes(model_)), device_classes(model_).experts,
               device, *stream_) {
  Uploader uploader(device, *stream_);
  weights_.fill(uploader);
  const std::vector<ExpertId> all = all_experts(model_.experts);
  CHECK_EQ(seed(experts_, engine.experts(), all, uploader), all.size());
  experts_.end_changes();
}

}  // namespace hearth::runtime
