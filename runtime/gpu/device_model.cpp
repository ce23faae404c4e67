#include "runtime/gpu/device_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/function_ref.h"
#include "runtime/gpu/expert_seed.h"

namespace hearth::runtime {
namespace {

std::vector<ExpertId> wanted_experts(const Engine& engine, std::span<const ExpertId> seed) {
  std::vector<ExpertId> wanted(seed.begin(), seed.end());
  wanted.insert(wanted.end(), engine.seed().begin(), engine.seed().end());
  return most_wanted_first(engine.model().experts, wanted);
}

std::vector<std::uint32_t> slots_at_first(const Model& model,
                                          const std::vector<std::uint32_t>& wanted) {
  return wanted.empty() ? DeviceModel::classes(model).experts : wanted;
}

std::uint32_t total(std::span<const std::uint32_t> slots_of_class) {
  return std::accumulate(slots_of_class.begin(), slots_of_class.end(), 0u);
}

// The largest share of `all`, the same in each class, that fits; none of them where nothing does.
std::vector<std::uint32_t> largest_share(std::span<const std::uint32_t> all,
                                         FunctionRef<bool(std::span<const std::uint32_t>)> fits) {
  const auto slots_of = [&](double share) {
    std::vector<std::uint32_t> slots;
    for (const std::uint32_t one : all) slots.push_back(static_cast<std::uint32_t>(share * one));
    return slots;
  };
  if (fits(slots_of(1))) return slots_of(1);
  double least = 0, most = 1;
  for (int halving = 0; halving < 40; ++halving) {
    const double share = (least + most) / 2;
    (fits(slots_of(share)) ? least : most) = share;
  }
  return slots_of(least);
}

// Slots are given up in steps of a small share of all.
Bytes chunk_bytes(const Model& model, std::span<const std::uint32_t> slots) {
  constexpr std::uint64_t kSteps = 32;
  const Bytes all =
      ExpertArena::bytes_needed(expert_slots(model.experts, DeviceModel::classes(model)), slots);
  return std::min(Bytes(all.count / kSteps), 64 * kMiB);
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
  const SizeClasses all = classes(model);
  const ExpertSlots layout = expert_slots(model.experts, all);
  return largest_share(all.experts, [&](std::span<const std::uint32_t> slots) {
    return ExpertArena::bytes_needed(layout, slots) <= experts;
  });
}

DeviceModel::Plan DeviceModel::plan(const Model& model, std::uint32_t batch) {
  const SizeClasses all = classes(model);
  Plan plan{.dense = DeviceWeights::bytes_needed(model.weights),
            .experts = ExpertArena::bytes_needed(expert_slots(model.experts, all), all.experts)};
  if (batch > kMostDeviceRows) plan.chunks = ChunkExperts::plan(model, false);
  return plan;
}

DeviceModel::Plan DeviceModel::plan(const Model& model,
                                    std::span<const std::uint32_t> slots_of_class,
                                    std::uint32_t threads, std::uint32_t batch) {
  Plan plan{.dense = DeviceWeights::bytes_needed(model.weights),
            .experts = ExpertArena::bytes_needed(expert_slots(model.experts, classes(model)),
                                                 slots_of_class),
            .lanes = DeviceLanes::plan(model, kMostDeviceRows, threads)};
  if (batch > kMostDeviceRows) plan.chunks = ChunkExperts::plan(model, true);
  return plan;
}

DeviceModel::DeviceModel(Engine& engine, kernels::Device& device,
                         const kernels::GpuKernels& kernels, const Options& options)
    : engine_(engine),
      model_(checked(engine)),
      device_(device),
      kernels_(kernels),
      stream_(device.new_stream(kernels::StreamPriority::kNormal)),
      uploader_(device, *stream_, &engine.reader()),
      weights_(model_.weights, device),
      experts_(expert_slots(model_.experts, classes(model_)),
               slots_at_first(model_, options.slots_of_class), device, *stream_,
               chunk_bytes(model_, slots_at_first(model_, options.slots_of_class))),
      wanted_(wanted_experts(engine, options.seed)),
      budget_(options.budget),
      most_slots_(slots()) {
  if (!options.held_of_class.empty()) experts_.hold(options.held_of_class);
  const bool streams = !options.slots_of_class.empty();
  if (streams && options.cache == GpuCache::kHost) experts_.keep_tables_on_host();
  engine.experts().settle();
  weights_.fill(model_.weights, uploader_);
  fill_slots();
  experts_.end_changes();
  if (options.batch > kMostDeviceRows)
    chunks_ = std::make_unique<ChunkExperts>(engine, experts_, device, *stream_, streams,
                                             options.most_staging);
  if (streams)
    lanes_ = std::make_unique<DeviceLanes>(engine, experts_, device, *stream_,
                                           DeviceLanes::Options{.rows = kMostDeviceRows,
                                                                .fetches = options.fetches,
                                                                .prefetch = options.prefetch,
                                                                .cache = options.cache});
  looks_ = device.calls();
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
  engine_.experts().settle();
  CHECK_EQ(seed(experts_, engine_.experts(), put, uploader_), put.size());
}

ChunkExperts* DeviceModel::begin_chunk() {
  before_chunk_ = device_.calls();
  if (lanes_ != nullptr) lanes_->begin_chunk();
  if (chunks_ == nullptr) return nullptr;
  chunks_->begin(std::exchange(moved_, false));
  waits_before_chunks_ += device_.calls().waits - before_chunk_.waits;
  chunks_run_ += 1;
  return chunks_.get();
}

void DeviceModel::end_chunk() {
  const kernels::DeviceCalls now = device_.calls();
  of_chunks_.launches += now.launches - before_chunk_.launches;
  of_chunks_.waits += now.waits - before_chunk_.waits;
}

void DeviceModel::run(FunctionRef<void()> enqueue, std::uint32_t rows) {
  moved_ = lanes_ != nullptr;
  steps_run_ += 1;
  if (lanes_ != nullptr) {
    polled_ += 1;
    lanes_->run(enqueue, rows);
  } else {
    enqueue();
    stream_->synchronize();
  }
  if (times_lanes_) lane_times_->add_step();
}

void DeviceModel::time_lanes(bool wanted) {
  CHECK(device_.properties().marks_graphs && host_cache() == nullptr);
  times_lanes_ = wanted;
  if (!wanted) return;
  if (lane_times_ == nullptr)
    lane_times_ = std::make_unique<LaneTimes>(device_, model_.config.layers);
  lane_times_->reset();
}

void DeviceModel::used(LayerIndex layer, std::span<const std::uint16_t> experts) {
  if (lanes_ != nullptr) lanes_->used(layer, experts);
}

// What looking costs is no work of a step.
std::vector<kernels::ExpertCounters> DeviceModel::counters() {
  const kernels::DeviceCalls before = device_.calls();
  std::vector<kernels::ExpertCounters> layers = experts_.counters();
  const kernels::DeviceCalls after = device_.calls();
  looks_.launches += after.launches - before.launches;
  looks_.nodes += after.nodes - before.nodes;
  looks_.waits += after.waits - before.waits;
  return layers;
}

DeviceWork DeviceModel::work() {
  const std::vector<kernels::ExpertCounters> layers = counters();
  const kernels::DeviceCalls calls = device_.calls();
  DeviceWork work{.steps = steps_run_,
                  .chunks = chunks_run_,
                  .launches = calls.launches - looks_.launches,
                  .nodes = calls.nodes - looks_.nodes,
                  .waits = calls.waits - looks_.waits + polled_,
                  .launches_of_chunks = of_chunks_.launches,
                  .waits_of_chunks = of_chunks_.waits,
                  .waits_before_chunks = waits_before_chunks_};
  for (std::uint32_t l = 0; l < layers.size(); ++l) {
    const Bytes expert(model_.experts.layer(static_cast<LayerIndex>(l)).bytes());
    work += {.experts = layers[l],
             .hit_bytes = expert * layers[l].hits,
             .fetched_bytes = expert * layers[l].fetched,
             .prefetched_bytes = expert * layers[l].prefetched,
             .on_host_bytes = expert * layers[l].on_host};
  }
  if (chunks_ != nullptr) work.of_chunks = chunks_->counters();
  if (lanes_ != nullptr) work.on_host = lanes_->time_on_host();
  if (host_cache() != nullptr) work.waits += host_cache()->waits();
  return work;
}

void DeviceModel::set_slots(std::span<const std::uint32_t> slots_of_class) {
  CHECK(lanes_ != nullptr);
  lanes_->sources().release();
  moved_ = true;
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

void DeviceModel::bound_slots(std::span<const std::uint32_t> slots_of_class) {
  most_slots_.assign(slots_of_class.begin(), slots_of_class.end());
  set_slots(slots_of_class);
}

// Those that become fewer first, for the others.
void DeviceModel::change_slots(std::span<const std::uint32_t> slots_of_class) {
  for (const bool fewer : {true, false})
    for (std::uint8_t c = 0; c < slots_of_class.size(); ++c)
      if ((slots_of_class[c] < experts_.slots(c)) == fewer)
        experts_.set_slots(c, slots_of_class[c], steps_);
}

void DeviceModel::enter_ram() {
  if (lanes_ != nullptr) lanes_->sources().take();
}

Bytes DeviceModel::missing(Bytes bytes) const {
  const Bytes free = device_.memory().free, wanted = device_.use().total() + bytes;
  Bytes missing = bytes > free ? bytes - free : Bytes(0);
  if (budget_ && wanted > *budget_) missing = std::max(missing, wanted - *budget_);
  return missing;
}

// More than once where the driver keeps ends of what is given back.
bool DeviceModel::try_make_room(Bytes bytes, std::string_view what) {
  const std::vector<std::uint32_t> before = slots();
  for (Bytes over = missing(bytes); over > Bytes(0); over = missing(bytes)) {
    const Bytes now = experts_.memory();
    if (lanes_ == nullptr || over > now) return false;
    const std::vector<std::uint32_t> fewer = share_within(now - over);
    if (experts_.memory_with(fewer) > now - over) return false;
    set_slots(fewer);
  }
  if (slots() != before)
    engine_.give_notice(fmt::format("{}: {} of {} experts stay in VRAM, {} MiB are for {}",
                                    engine_.device_name(), total(slots()), total(most_slots_),
                                    (bytes.count + kMiB.count - 1) / kMiB.count, what));
  return true;
}

void DeviceModel::make_room(Bytes bytes, std::string_view what) {
  if (try_make_room(bytes, what)) return;
  throw_error(ErrorCode::kBudget,
              "{}: {} MiB for {} are not to be had: this process takes {} MiB, of {}, and {} "
              "experts have room to give; lower --ctx-size, or give a larger --vram",
              device_.properties().name, (bytes.count + kMiB.count - 1) / kMiB.count, what,
              device_.use().total() / kMiB,
              budget_ ? fmt::format("a budget of {} MiB", *budget_ / kMiB)
                      : fmt::format("what there is, {} MiB are free", device_.memory().free / kMiB),
              lanes_ == nullptr ? 0 : total(slots()));
}

void DeviceModel::take_slots_back() {
  if (lanes_ == nullptr || slots() == most_slots_) return;
  const Bytes free = device_.memory().free, taken = device_.use().total();
  Bytes room = free;
  if (budget_) room = std::min(room, *budget_ > taken ? *budget_ - taken : Bytes(0));
  const std::vector<std::uint32_t> more = share_within(experts_.memory() + room);
  if (total(more) <= total(slots())) return;
  set_slots(more);
  engine_.give_notice(fmt::format("{}: {} of {} experts are in VRAM again", engine_.device_name(),
                                  total(slots()), total(most_slots_)));
}

std::vector<std::uint32_t> DeviceModel::slots() const {
  std::vector<std::uint32_t> slots;
  for (std::size_t c = 0; c < experts_.experts().slot_bytes.size(); ++c)
    slots.push_back(experts_.slots(static_cast<std::uint8_t>(c)));
  return slots;
}

std::vector<std::uint32_t> DeviceModel::share_within(Bytes memory) const {
  return largest_share(most_slots_, [&](std::span<const std::uint32_t> slots) {
    return experts_.memory_with(slots) <= memory;
  });
}

void DeviceModel::leave_ram() {
  if (lanes_ != nullptr) lanes_->sources().unpin();
}

}  // namespace hearth::runtime
