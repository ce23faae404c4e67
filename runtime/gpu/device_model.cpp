#include "runtime/gpu/device_model.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "runtime/gpu/expert_seed.h"

namespace hearth::runtime {
namespace {

// Each once.
std::vector<ExpertId> most_wanted_first(const Engine& engine, std::span<const ExpertId> seed) {
  const ExpertCatalog& catalog = engine.model().experts;
  std::vector<bool> listed(catalog.space().size());
  std::vector<ExpertId> wanted;
  const auto add = [&](ExpertId id) {
    const std::uint32_t flat = catalog.space().flat(id);
    if (!listed[flat] && catalog.has(id)) wanted.push_back(id);
    listed[flat] = true;
  };
  std::ranges::for_each(seed, add);
  std::ranges::for_each(engine.seed(), add);
  for (std::uint32_t flat = 0; flat < catalog.space().size(); ++flat) add(catalog.space().id(flat));
  return wanted;
}

std::vector<std::uint32_t> slots_at_first(const Model& model,
                                          const std::vector<std::uint32_t>& wanted) {
  return wanted.empty() ? DeviceModel::classes(model).experts : wanted;
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

SizeClasses DeviceModel::classes(const Model& model) {
  return size_classes(model.experts, kernels::kSlotAlignment);
}

std::vector<std::uint32_t> DeviceModel::slots_within(const Model& model, Bytes experts) {
  const ExpertSlots layout = expert_slots(model.experts, classes(model));
  const auto slots_of = [&](double share) {
    std::vector<std::uint32_t> slots;
    for (const std::uint32_t all : classes(model).experts)
      slots.push_back(static_cast<std::uint32_t>(share * all));
    return slots;
  };
  const auto fits = [&](double share) {
    return ExpertArena::bytes_needed(layout, slots_of(share)) <= experts;
  };
  if (fits(1)) return slots_of(1);
  double least = 0, most = 1;
  for (int halving = 0; halving < 40; ++halving) {
    const double share = (least + most) / 2;
    (fits(share) ? least : most) = share;
  }
  return slots_of(least);
}

DeviceModel::Plan DeviceModel::plan(const Model& model) {
  const SizeClasses all = classes(model);
  return {.dense = DeviceWeights::bytes_needed(model.weights),
          .experts = ExpertArena::bytes_needed(expert_slots(model.experts, all), all.experts)};
}

DeviceModel::Plan DeviceModel::plan(const Model& model,
                                    std::span<const std::uint32_t> slots_of_class,
                                    std::uint32_t threads) {
  return {.dense = DeviceWeights::bytes_needed(model.weights),
          .experts = ExpertArena::bytes_needed(expert_slots(model.experts, classes(model)),
                                               slots_of_class),
          .lanes = DeviceLanes::plan(model, kMostDeviceRows, threads)};
}

DeviceModel::DeviceModel(Engine& engine, kernels::Device& device,
                         const kernels::GpuKernels& kernels, const Options& options)
    : engine_(engine),
      model_(checked(engine)),
      device_(device),
      kernels_(kernels),
      stream_(device.new_stream(kernels::StreamPriority::kNormal)),
      weights_(model_.weights, device),
      experts_(expert_slots(model_.experts, classes(model_)),
               slots_at_first(model_, options.slots_of_class), device, *stream_),
      wanted_(most_wanted_first(engine, options.seed)) {
  Uploader uploader(device, *stream_);
  weights_.fill(uploader);
  fill_slots();
  experts_.end_changes();
  if (options.slots_of_class.empty()) return;
  lanes_ = std::make_unique<DeviceLanes>(engine, experts_, device, *stream_, kMostDeviceRows,
                                         options.fetches);
}

// In changes of the arena, with nothing leased in RAM.
void DeviceModel::fill_slots() {
  const SizeClasses all = classes(model_);
  std::vector<std::uint32_t> free;
  for (std::uint8_t c = 0; c < all.slot_bytes.size(); ++c) free.push_back(experts_.slots(c));
  for (const ExpertId id : experts_.resident()) free[all.class_of_layer[id.layer]] -= 1;
  std::vector<ExpertId> put;
  for (const ExpertId id : wanted_) {
    std::uint32_t& left = free[all.class_of_layer[id.layer]];
    if (left == 0 || experts_.address(id) != nullptr) continue;
    left -= 1;
    put.push_back(id);
  }
  Uploader uploader(device_, *stream_);
  CHECK_EQ(seed(experts_, engine_.experts(), put, uploader), put.size());
}

void DeviceModel::run(const kernels::Graph& step, std::uint32_t rows) {
  if (lanes_ != nullptr) return lanes_->run(step, rows);
  stream_->launch(step);
  stream_->synchronize();
}

void DeviceModel::used(LayerIndex layer, std::span<const std::uint16_t> experts) {
  if (lanes_ != nullptr) lanes_->used(layer, experts);
}

void DeviceModel::set_slots(std::span<const std::uint32_t> slots_of_class) {
  CHECK(lanes_ != nullptr);
  lanes_->sources().release();
  lanes_->slots_changed();
  experts_.begin_changes();
  try {
    change_slots(slots_of_class);
    fill_slots();
  } catch (...) {
    experts_.end_changes();
    throw;
  }
  experts_.end_changes();
}

// Those that become fewer first, for the others.
void DeviceModel::change_slots(std::span<const std::uint32_t> slots_of_class) {
  for (const bool fewer : {true, false})
    for (std::uint8_t c = 0; c < slots_of_class.size(); ++c)
      if ((slots_of_class[c] < experts_.slots(c)) == fewer)
        experts_.set_slots(c, slots_of_class[c], steps_);
}

void DeviceModel::leave_ram() {
  if (lanes_ != nullptr) lanes_->sources().unpin();
}

}  // namespace hearth::runtime
