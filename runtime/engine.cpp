#include "runtime/engine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/own_thread_signals.h"
#include "profiler/cost_model.h"
#include "profiler/plan_toml.h"
#include "profiler/step_split.h"
#include "runtime/available_memory.h"
#include "runtime/gpu/device_decoder.h"
#include "runtime/gpu/device_lanes.h"
#include "runtime/gpu/device_model.h"
#include "runtime/gpu/device_plan.h"
#include "runtime/gpu/device_prefill.h"
#include "runtime/model_identity.h"
#include "runtime/plan_input.h"

namespace hearth::runtime {
namespace {

kernels::WorkerPool started_pool(std::uint32_t threads) {
  const OwnThreadSignals signals;
  return kernels::WorkerPool(threads);
}

void check_vocabulary(const io::GgufFile& file, const ModelConfig& config, std::size_t tokens) {
  if (tokens != config.vocabulary)
    throw_error(ErrorCode::kBadFile,
                "{}: the tokenizer has {} tokens but token_embd.weight has {} rows; the file does "
                "not match itself",
                file.name(), tokens, config.vocabulary);
}

void check_fits(const profiler::PlacementPlan& plan, Bytes available, const std::string& path) {
  if (plan.ram.total() <= available || available == Bytes(0)) return;
  throw_error(ErrorCode::kBudget,
              "{}: the plan takes {} MiB, but {} MiB of memory are free; make a smaller one with "
              "hearth plan",
              printable(path), plan.ram.total().count >> 20, available.count >> 20);
}

// Of kernels that read RAM while the CPU computes; of a card that another program measured, copies.
profiler::BytesPerSecond gather_rate(const profiler::GpuMachine& gpu) {
  return gpu.gather_shared > 0 ? gpu.gather_shared : gpu.host_to_device_shared;
}

}  // namespace

namespace {

kernels::KvFormat kv_format_of_plan(const std::string& format, const std::string& path) {
  const auto found = kernels::parse_kv_format(format);
  if (!found)
    throw_error(
        ErrorCode::kUnsupported,
        "{}: the plan keeps keys or values in {}, which this version has not; make one with "
        "hearth plan",
        printable(path), printable(format));
  return *found;
}

}  // namespace

void EngineOptions::follow(profiler::PlacementPlan taken, const std::string& path) {
  budget = {};
  context = taken.context;
  batch = taken.batch;
  threads = taken.threads;
  policy = taken.policy;
  prefetch = taken.prefetch;
  key_format = kv_format_of_plan(taken.key_format, path);
  value_format = kv_format_of_plan(taken.value_format, path);
  kv_tail = taken.kv_tail;
  kv_rotation = taken.kv_rotation;
  find_profile = nullptr;
  plan = std::move(taken);
  plan_path = path;
}

Engine::~Engine() = default;

Engine::Engine(const EngineOptions& options)
    : ram_is_bounded_(options.budget.ram.has_value()),
      kv_formats_(kv_formats_of(options)),
      clock_(steady_clock()),
      kernels_(kernels::cpu_kernels(kernels::best_instruction_set())),
      file_(io::GgufFile::open(options.model_path, block_shape_of)),
      model_(build_model(file_)),
      tokenizer_(Tokenizer::from_metadata(file_.metadata())),
      pool_(started_pool(thread_count(options.threads))),
      notice_(options.notice) {
  check_vocabulary(file_, model_->config, tokenizer_->size());
  reader_ = options.open_reader(file_.paths(), options.io);
  if (options.find_profile) profile_ = options.find_profile(file_, *model_);
  if (options.device) open_device(*options.device);
  make_plan(options);
  load_what_fits(options);
  prefetcher_ = std::make_unique<Prefetcher>(
      *experts_, Prefetcher::Options{.enabled = plan_.prefetch && device_ == nullptr,
                                     .experts_used = model_->config.experts_used});
}

// One that does not open (others have all of its memory, or have it for themselves) is none, where
// that is allowed.
void Engine::open_device(const ComputeDevice& device) try {
  device_name_ = device.name;
  device_ = device.open();
  miss_service_ = device.misses;
  gpu_cache_ = device.cache;
} catch (const Error& error) {
  if (error.code() != ErrorCode::kDevice || !device.if_it_fits) throw;
  compute_without_device(error.what());
}

// Where a device has not the memory of the plan after all, with fewer and fewer experts on it; then
// without it, where that is allowed.
void Engine::load_what_fits(const EngineOptions& options) {
  const profiler::TierPlan planned = plan_.vram.value_or(profiler::TierPlan{});
  for (std::uint64_t quarters = 3;; --quarters) try {
      return load(options);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kBudget || device_ == nullptr) throw;
      device_model_.reset();
      experts_.reset();
      reader_->register_memory(std::span<const std::span<std::byte>>());  // none is there any more
      const std::uint32_t slots = plan_.vram->slots();
      vram_left_ = planned.total() - planned.experts + Bytes(planned.experts.count / 4) * quarters;
      if (quarters == 0 || !plan_again(options)) {
        if (!options.device->if_it_fits) throw;
        compute_without_device(error.what());
        make_plan(options);
      } else {
        give_notice(fmt::format(
            "{}; it has {} experts instead of {}, and takes {} tokens of a prompt at once",
            error.what(), plan_.vram->slots(), slots, plan_.batch));
      }
    }
}

// False where even the least does not fit what is left of the device.
bool Engine::plan_again(const EngineOptions& options) try {
  make_plan(options);
  return device_ != nullptr;
} catch (const Error& error) {
  if (error.code() != ErrorCode::kBudget) throw;
  return false;
}

void Engine::compute_without_device(const std::string& why) {
  why_no_device_ = why;
  device_name_.clear();
  device_.reset();
}

// Dense weights, then the experts that the profile says are wanted most. A device takes the
// matrices and most of the experts from the files itself.
void Engine::load(const EngineOptions& options) {
  const Bytes dense = model_->weights.weight_bytes(), all = bytes_to_load();
  const Bytes read_before = reader_->bytes_read();
  const auto progress = [&](Bytes done) {
    if (options.progress) options.progress(done, all);
  };
  dense_ = io::Arena(plan_.ram.dense);
  if (device_)
    model_->weights.load_vectors(*reader_, dense_, progress);
  else
    model_->weights.load(*reader_, dense_, progress);
  experts_ =
      std::make_unique<ExpertStore>(file_.paths(), model_->experts, *reader_,
                                    ExpertStore::Options{.policy = plan_.policy,
                                                         .slots_of_class = plan_.ram.slots_of_class,
                                                         .popularity = popularity_in_ram(),
                                                         .max_reads = options.io.max_queued},
                                    clock_);
  if (device_) {
    open_device_model(*options.device);
    const Bytes read = std::min(reader_->bytes_read() - read_before, all);
    fill_ram_beside_device([&](Bytes done) { progress(std::min(read + done, all)); });
    return progress(all);
  }
  experts_->seed(plan_.seed, [&](Bytes done) { progress(dense + done); });
}

// Of a device about so much, as experts may be in both tiers.
Bytes Engine::bytes_to_load() const {
  const Bytes dense = model_->weights.weight_bytes(), experts = model_->experts.bytes();
  if (!plan_.vram) return dense + seed_bytes();
  const double slots = plan_.vram->slots() + (seed().empty() ? 0 : plan_.ram.slots());
  const double share = std::min(slots / std::max(plan_.experts, 1u), 1.0);
  return dense + Bytes(static_cast<std::uint64_t>(share * static_cast<double>(experts.count)));
}

bool Engine::prefetching() const {
  return device_model_ != nullptr ? device_model_->may_prefetch() : prefetcher_->enabled();
}

profiler::PrefetchCounts Engine::prefetches() const {
  const profiler::ResidencyCounters& of_ram = experts_->residency().counters();
  if (device_model_ == nullptr)
    return {.issued = of_ram.prefetches, .used = of_ram.prefetches_used};
  return device_model_->prefetches();
}

void Engine::leave_experts() {
  if (device_model_ != nullptr) device_model_->leave_ram();
}

void Engine::load_absent() {
  std::uint32_t here = 0;
  for (std::uint32_t layer = 0; layer < config().layers; ++layer)
    here += experts_->residency().resident(static_cast<LayerIndex>(layer));
  if (here == plan_.experts) return;  // a device need not look away for that
  leave_experts();
  experts_->load_absent();
}

void Engine::open_device_model(const ComputeDevice& device) {
  if (device.rates) device_rates_ = device.rates->gpu;
  DeviceModel::Options options{.seed = plan_.seed, .batch = plan_.batch};
  if (!plan_.all_in_vram()) {
    options.slots_of_class = plan_.vram->slots_of_class;
    options.held_of_class = plan_.vram->held_of_class;
    options.fetches = fetches(device);
    options.cache = gpu_cache_;
    if (device_rates_ && plan_.prefetch && miss_service_ != MissService::kCpu &&
        gpu_cache_ == GpuCache::kDevice)
      options.prefetch = DeviceLanes::prefetch_link(*model_, gather_rate(*device_rates_));
  }
  options.budget = vram_budget_;
  device_model_ = std::make_unique<DeviceModel>(*this, *device_, *device.kernels, options);
  try_session();
}

// A session's memory and graphs, which show what the driver takes.
void Engine::try_session() {
  device_model_->make_room(session_bytes(*this).device, "a session");
  DeviceDecoder(*device_model_, DeviceDecoder::options(*this)).prepare();
}

// All that the device does not hold where there is room for it, so that no step reads from disk;
// else what a profile wants.
void Engine::fill_ram_beside_device(FunctionRef<void(Bytes)> progress) {
  if (device_model_->lanes() == nullptr) return;
  replace_experts(ram_has_room_for_the_rest() ? device_model_->wanted() : seed(), progress);
  device_model_->enter_ram();
}

bool Engine::ram_has_room_for_the_rest() const {
  std::vector<std::uint32_t> slots;
  for (std::uint8_t c = 0; c < needs_.classes.size(); ++c)
    slots.push_back(experts_->residency().slots(c));
  for (const ExpertId id : device_model_->wanted())
    if (!device_model_->holds(id) && slots[needs_.class_of_layer[id.layer]]-- == 0) return false;
  return true;
}

profiler::FetchLadder Engine::fetches(const ComputeDevice& device) const {
  const profiler::LayerExperts experts = DeviceLanes::experts_of_step(*model_, kMostDeviceRows);
  if (device.misses == MissService::kLink) return profiler::only_fetches(experts);
  if (device.misses == MissService::kCpu || !device_rates_) return {};
  return profiler::fetch_ladder(
      profiler::lane_costs(*device_rates_,
                           profiler::expert_rate(needs_, device.rates->cpu, threads())),
      experts);
}

// What is on a device stays.
void Engine::restore_seed() {
  if (device_ == nullptr) replace_experts(plan_.seed);
}

std::uint32_t Engine::expert_slots() const {
  std::uint32_t slots = 0;
  for (std::uint8_t c = 0; c < needs_.classes.size(); ++c) slots += experts_->residency().slots(c);
  return slots;
}

Bytes Engine::expert_ram() const {
  Bytes total;
  for (std::uint8_t c = 0; c < needs_.classes.size(); ++c)
    total += needs_.classes[c].slot * experts_->residency().slots(c);
  return total;
}

Bytes Engine::least_expert_ram() const {
  return profiler::divide_slots(needs_, popularity(), plan_.ram.slots_of_class, Bytes(0)).needed;
}

void Engine::set_expert_ram(Bytes bytes) {
  const profiler::SlotPlan divided =
      profiler::divide_slots(needs_, popularity(), plan_.ram.slots_of_class, bytes);
  if (divided.needed > bytes)
    throw_error(ErrorCode::kBudget,
                "{} bytes for experts are too few: the least that works is {} ({} experts of each "
                "size at once)",
                bytes.count, divided.needed.count, model_->config.experts_used);
  leave_experts();
  experts_->set_slots(divided.slots);
}

std::vector<std::uint32_t> Engine::expert_vram_slots() const {
  std::vector<std::uint32_t> slots;
  for (std::uint8_t c = 0; device_model_ != nullptr && c < needs_.classes.size(); ++c)
    slots.push_back(device_model_->experts().slots(c));
  return slots;
}

// The same share of the plan's slots in each class.
void Engine::set_expert_vram(Bytes bytes) {
  CHECK(device_model_ != nullptr && device_model_->lanes() != nullptr);
  std::vector<profiler::SlotClass> classes;
  for (std::uint8_t c = 0; c < needs_.classes.size(); ++c)
    classes.push_back(
        {.slot = needs_.classes[c].device_slot, .experts = plan_.vram->slots_of_class[c]});
  device_model_->bound_slots(profiler::plan_slots(classes, bytes, 0).slots);
}

void Engine::replace_experts(std::span<const ExpertId> ids, FunctionRef<void(Bytes)> progress) {
  std::vector<std::uint32_t> free;
  for (std::uint8_t c = 0; c < needs_.classes.size(); ++c)
    free.push_back(experts_->residency().slots(c));
  std::vector<ExpertId> kept;
  for (const ExpertId id : ids) {
    std::uint32_t& slots = free[needs_.class_of_layer[id.layer]];
    if (slots == 0 || (device_model_ != nullptr && device_model_->holds(id))) continue;
    slots -= 1;
    kept.push_back(id);
  }
  leave_experts();
  experts_->settle();
  experts_->drop_all();
  experts_->seed(kept, progress);
}

// Uses per token of the experts, where a profile or a plan knows them.
std::vector<float> Engine::popularity() const {
  if (profile_) return profile_->popularity();
  return profiler::popularity_of_seed(plan_, needs_.space());
}

// Nobody asks RAM for what a device holds.
std::vector<float> Engine::popularity_in_ram() const {
  std::vector<float> uses = popularity();
  if (device_ == nullptr || uses.empty()) return uses;
  for (const ExpertId id : held_experts(*model_, plan_)) uses[needs_.space().flat(id)] = 0;
  return uses;
}

Bytes Engine::seed_bytes() const {
  Bytes total;
  for (const ExpertId id : plan_.seed) total += Bytes(model_->experts.layer(id.layer).bytes());
  return total;
}

std::span<const std::byte> Engine::largest_arena() const {
  const auto experts = experts_->memory();
  return experts.size() > dense_.bytes().size() ? experts : dense_.bytes();
}

void Engine::make_plan(const EngineOptions& options) {
  PlanInput input = plan_input(file_, *model_, options, reader_->alignment(), profile_ != nullptr);
  // The bound of the process holds, or else the plan is for a larger process.
  const Bytes resident = options.resident();
  input.needs.process = std::max(input.needs.process, resident + kProcessReserve);
  input.request.available = available_memory(resident);
  if (options.plan) {
    input.needs.model = identity_of(file_);
    check_plan_of(*options.plan, input.needs, options.plan_path);
    check_fits(*options.plan, input.request.available, options.plan_path);
    plan_ = *options.plan;
    plan_.ram.process = std::max(plan_.ram.process, resident + kProcessReserve);
  } else {
    place(input, options);
  }
  needs_ = std::move(input.needs);
}

void Engine::place(const PlanInput& input, const EngineOptions& options) {
  if (device_ == nullptr) {
    plan_ = profiler::plan_placement(input.needs, input.request, nullptr, profile_.get());
    return;
  }
  try {
    const std::optional<profiler::Machine>& rates = options.device->rates;
    place_on_device(input, rates ? &*rates : nullptr);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBudget || !options.device->if_it_fits) throw;
    compute_without_device(error.what());
    PlanInput in_ram = input;
    in_ram.request.budget.vram.reset();
    place(in_ram, options);
  }
}

// The whole context has to fit beside the least of experts, whatever there is at first. What is
// held then, and room in RAM for the others, is there from the start: keys and values take what
// follows.
void Engine::place_on_device(PlanInput input, const profiler::Machine* machine) {
  if (vram_left_) input.request.budget.vram = vram_left_;
  const auto plan_for = [&](std::uint32_t positions) {
    ask_for_device(*model_, *device_,
                   {.formats = kv_formats_,
                    .alignment = reader_->alignment(),
                    .positions = positions,
                    .cache = gpu_cache_},
                   input);
    profiler::PlacementPlan plan =
        profiler::plan_placement(input.needs, input.request, machine, profile_.get());
    if (positions < plan.context) plan.vram->positions = positions;
    place_experts(*model_, input, plan);
    return plan;
  };
  plan_ = plan_for(input.request.context);
  const std::uint32_t first = first_positions(plan_, budget_on_device(input));
  if (first < plan_.context) {
    const profiler::PlacementPlan whole = std::exchange(plan_, plan_for(first));
    plan_.ram = whole.ram;
    plan_.vram->held_of_class = whole.vram->held_of_class;
  }
  if (!vram_left_) vram_budget_ = budget_on_device(input);
}

}  // namespace hearth::runtime
