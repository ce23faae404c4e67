#include "runtime/engine.h"

#include <algorithm>

#include "base/error.h"
#include "profiler/cost_model.h"
#include "profiler/plan_toml.h"
#include "profiler/step_split.h"
#include "runtime/gpu/device_lanes.h"
#include "runtime/gpu/device_model.h"
#include "runtime/gpu/device_plan.h"
#include "runtime/model_identity.h"
#include "runtime/plan_input.h"

namespace hearth::runtime {
namespace {

void check_vocabulary(const io::GgufFile& file, const ModelConfig& config, std::size_t tokens) {
  if (tokens != config.vocabulary)
    throw_error(ErrorCode::kBadFile,
                "{}: the tokenizer has {} tokens but token_embd.weight has {} rows; the file does "
                "not match itself",
                file.name(), tokens, config.vocabulary);
}

void check_fits(const profiler::PlacementPlan& plan, Bytes available, const std::string& path) {
  if (plan.ram.total() <= available) return;
  throw_error(ErrorCode::kBudget,
              "{}: the plan takes {} MiB, but {} MiB of memory are free; make a smaller one with "
              "hearth plan",
              printable(path), plan.ram.total().count >> 20, available.count >> 20);
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
      pool_(thread_count(options.threads)) {
  check_vocabulary(file_, model_->config, tokenizer_->size());
  reader_ = options.open_reader(file_.paths(), options.io);
  if (options.find_profile) profile_ = options.find_profile(file_, *model_);
  if (options.device) {
    device_name_ = options.device->name;
    device_ = options.device->open();
  }
  make_plan(options);
  load(options);
  prefetcher_ = std::make_unique<Prefetcher>(
      *experts_,
      Prefetcher::Options{.enabled = plan_.prefetch, .experts_used = model_->config.experts_used});
}

// Dense weights, then the experts that the profile says are wanted most.
void Engine::load(const EngineOptions& options) {
  const Bytes dense = model_->weights.weight_bytes(), all = dense + seed_bytes();
  const auto progress = [&](Bytes done) {
    if (options.progress) options.progress(done, all);
  };
  dense_ = io::Arena(plan_.ram.dense);
  model_->weights.load(*reader_, dense_, progress);
  experts_ =
      std::make_unique<ExpertStore>(file_.paths(), model_->experts, *reader_,
                                    ExpertStore::Options{.policy = plan_.policy,
                                                         .slots_of_class = plan_.ram.slots_of_class,
                                                         .popularity = popularity(),
                                                         .max_reads = options.io.max_queued},
                                    clock_);
  if (device_) {
    open_device_model(*options.device);
    return;
  }
  experts_->seed(plan_.seed, [&](Bytes done) { progress(dense + done); });
}

void Engine::leave_experts() {
  if (device_model_ != nullptr) device_model_->leave_ram();
}

void Engine::load_absent() {
  leave_experts();
  experts_->load_absent();
}

// Without slots of fewer experts, all of them are on the device for good.
void Engine::open_device_model(const ComputeDevice& device) {
  DeviceModel::Options options{.seed = plan_.seed};
  if (plan_.vram->slots() < plan_.experts) {
    options.slots_of_class = plan_.vram->slots_of_class;
    has_rates_ = device.rates && device.rates->gpu;
    if (has_rates_)
      options.fetches = profiler::fetch_ladder(
          profiler::lane_costs(*device.rates->gpu,
                               profiler::expert_rate(needs_, device.rates->cpu, threads())),
          DeviceLanes::experts_of_step(*model_, kMostDeviceRows));
  }
  device_model_ = std::make_unique<DeviceModel>(*this, *device_, *device.kernels, options);
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

void Engine::replace_experts(std::span<const ExpertId> ids) {
  std::vector<std::uint32_t> free;
  for (std::uint8_t c = 0; c < needs_.classes.size(); ++c)
    free.push_back(experts_->residency().slots(c));
  std::vector<ExpertId> kept;
  for (const ExpertId id : ids) {
    std::uint32_t& slots = free[needs_.class_of_layer[id.layer]];
    if (slots == 0) continue;
    slots -= 1;
    kept.push_back(id);
  }
  leave_experts();
  experts_->settle();
  experts_->drop_all();
  experts_->seed(kept, [](Bytes) {});
}

// Uses per token of the experts, where a profile or a plan knows them.
std::vector<float> Engine::popularity() const {
  if (profile_) return profile_->popularity();
  if (plan_.seed.empty()) return {};
  const ExpertSpace space = needs_.space();
  std::vector<float> uses(space.size(), 0.0f);
  for (std::size_t i = 0; i < plan_.seed.size(); ++i)
    uses[space.flat(plan_.seed[i])] = plan_.seed_uses[i];
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
  input.request.available = available_memory() + resident;
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
    place_on_device(input);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBudget || !options.device->if_it_fits) throw;
    why_no_device_ = error.what();
    device_name_.clear();
    device_.reset();
    PlanInput in_ram = input;
    in_ram.request.budget.vram.reset();
    place(in_ram, options);
  }
}

void Engine::place_on_device(PlanInput input) {
  ask_for_device(*model_, kv_formats_, *device_, input);
  plan_ = profiler::plan_placement(input.needs, input.request, nullptr, profile_.get());
  place_experts(*model_, input, plan_);
}

void Engine::require_host(std::string_view what) const {
  if (device_ == nullptr) return;
  throw_error(ErrorCode::kUnsupported, "{}: {} does not work on a device yet; give --device none",
              device_name_, what);
}

}  // namespace hearth::runtime
