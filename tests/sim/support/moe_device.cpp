#include "tests/sim/support/moe_device.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace hearth::sim {

using kernels::ExpertJob;
using kernels::LaneBlock;
using kernels::QuantizeTask;
using kernels::emulated::EmulatedDevice;
using kernels::emulated::Schedule;

namespace {

constexpr std::uint64_t kSourceAlignment = 64;

kernels::SlotLayout layout_of(const MoeModel& model) {
  const runtime::ExpertWeights one = model.expert(0);
  return kernels::slot_layout(one.gate.bytes(), one.up.bytes(), one.down.bytes());
}

kernels::LaneShape lane_shape(const MoeShape& shape) {
  return {.rows = shape.rows, .experts_used = shape.used, .embedding = shape.embedding};
}

runtime::CpuLane::Shape cpu_lane_shape(const MoeShape& shape) {
  return {.block = lane_shape(shape), .expert_ff = shape.expert_ff, .threads = 1};
}

[[noreturn]] void throw_no_memory() {
  throw_error(ErrorCode::kBudget, "no memory for the layers; lower --vram");
}

}  // namespace

void MemoryExperts::begin(LayerIndex layer, std::span<const std::uint16_t> experts) {
  begins_ += 1;
  waiting_.clear();
  numbers_.clear();
  for (std::uint32_t place = 0; place < experts.size(); ++place) {
    numbers_.push_back(layer * model_.shape().experts + experts[place]);
    waiting_.push_back({.place = place, .weights = model_.expert(numbers_.back())});
  }
}

std::span<const runtime::ArrivedExpert> MemoryExperts::arrived() {
  let_others_run();
  const auto is_here = [&](const runtime::ArrivedExpert& one) {
    return !on_disk(numbers_[one.place]);
  };
  auto end = std::partition(waiting_.begin(), waiting_.end(), is_here);
  if (end == waiting_.begin()) {
    end = waiting_.begin() + 1;  // only such as are on disk: one of them arrives
    if (unreadable_ == numbers_[waiting_[0].place])
      throw_error(ErrorCode::kIo, "model.gguf: expert {} cannot be read", *unreadable_);
  }
  given_.assign(waiting_.begin(), end);
  waiting_.erase(waiting_.begin(), end);
  return given_;
}

// The device goes on while the CPU computes. What befalls it there is its conductor's to hear of.
void MemoryExperts::let_others_run() {
  if (schedule_ == nullptr) return;
  try {
    for (int i = 0; i < 3; ++i) schedule_->step();
  } catch (const Error&) {
  }
}

// Addresses of what a step reads and writes: of the device, unless mapped.
struct MoeOnDevice::Memory {
  kernels::ExpertTables tables;
  kernels::SlotLayout layout;
  std::byte* slots;
  std::vector<float*> routers;
  std::uint32_t *step, *fetch_limits, *fetch_count, *host_count, *x_rows, *never;
  std::uint32_t *host_step, *faults;
  float *hidden, *sums, *host_hidden, *logits, *weights, *x_weights, *out, *nothing;
  std::uint16_t* ids;
  ExpertJob *hits, *fetched;
  kernels::ExpertFetch* fetches;
  kernels::LaneJob* host_jobs;
  // Of guesses, of every other layer.
  struct Guess {
    kernels::ExpertFetch* fetches;
    std::uint32_t* count;
    MoeOnDevice* device;
  } guesses[2];
  std::uint32_t* prefetch_limits;
  std::uint16_t* guessed_ids;
  float *guess_logits, *guess_weights;
  const float** results;
  QuantizeTask::Destination x, expert_hidden;
  LaneBlock block;
};

MoeOnDevice::MoeOnDevice(const MoeModel& model, const World& world)
    : model_(model),
      world_(world),
      experts_(model_, world.unreadable),
      kernels_(kernels::emulated_kernels()),
      memory_(std::make_unique<Memory>()),
      arena_(runtime::CpuLane::bytes_needed(cpu_lane_shape(model.shape())),
             io::Arena::Pages::kDefault) {
  kernels::emulated::DeviceOptions options = world.device;
  options.beside = [this] { return world_.cpu_answers && lane_ != nullptr && lane_->serve(); };
  device_ = std::make_unique<EmulatedDevice>(options);
  main_ = device_->new_stream(kernels::StreamPriority::kNormal);
  copies_ = device_->new_stream(kernels::StreamPriority::kHigh);
  guesses_ = device_->new_stream(kernels::StreamPriority::kHigh);
  beside_ = device_->new_stream(kernels::StreamPriority::kHigh);
  for (auto* event : {&resolved_, &gathered_, &guessed_, &ahead_, &finished_})
    *event = device_->new_event(kernels::EventTiming::kNone);
  take_memory();
  put_experts_in_ram();
  lane_ = std::make_unique<runtime::CpuLane>(
      runtime::CpuLane::Options{.shape = cpu_lane_shape(model.shape()),
                                .block = memory_->block,
                                .layers = {model.shape().layers, &model.ffn()}},
      kernels::cpu_kernels(kernels::InstructionSet::kScalar), pool_, experts_, arena_);
  experts_.meanwhile(device_->schedule());
  if (device_->schedule() == nullptr) thread_ = std::make_unique<runtime::CpuLaneThread>(*lane_);
  capture();
}

MoeOnDevice::~MoeOnDevice() = default;

template <typename T>
T* MoeOnDevice::on_device(std::size_t count) {
  auto buffer = kernels::DeviceBuffer::try_allocate(*device_, Bytes(count * sizeof(T)));
  if (!buffer) throw_no_memory();
  buffers_.push_back(std::move(*buffer));
  return reinterpret_cast<T*>(buffers_.back().data());
}

template <typename T>
T* MoeOnDevice::mapped(std::size_t count) {
  auto memory = kernels::MappedMemory::try_allocate(*device_, Bytes(count * sizeof(T)));
  if (!memory) throw_no_memory();
  mapped_.push_back(std::move(*memory));
  return reinterpret_cast<T*>(mapped_.back().data());
}

template <typename T>
void MoeOnDevice::upload(T* to, const std::vector<T>& values) {
  main_->copy(to, values.data(), Bytes(values.size() * sizeof(T)));
  main_->synchronize();
}

void MoeOnDevice::take_memory() {
  const MoeShape& s = model_.shape();
  Memory& m = *memory_;
  const auto activations = [&](std::uint32_t rows, std::uint32_t columns) {
    const auto stride = static_cast<std::uint32_t>(round_up(columns, kernels::kActivationPadding));
    const std::size_t values = std::size_t{rows} * stride;
    return QuantizeTask::Destination{.rows = rows,
                                     .columns = columns,
                                     .stride = stride,
                                     .values = on_device<float>(values),
                                     .codes = on_device<std::int8_t>(values),
                                     .scales = on_device<float>(values / 32),
                                     .sums = on_device<std::int16_t>(values / 16)};
  };
  m.layout = layout_of(model_);
  m.slots = on_device<std::byte>(m.layout.size * world_.slots);
  m.tables = {.slot_of = on_device<std::uint32_t>(s.all_experts()),
              .active_in = on_device<std::uint32_t>(s.all_experts()),
              .guessed = on_device<std::uint32_t>(s.all_experts()),
              .slots = on_device<kernels::ExpertSlot>(world_.slots),
              .addresses = on_device<std::byte*>(world_.slots),
              .sources = on_device<kernels::ExpertSource>(s.all_experts()),
              .counters = on_device<kernels::ExpertCounters>(s.layers)};
  m.step = on_device<std::uint32_t>(1);
  m.fetch_limits = on_device<std::uint32_t>(s.pairs() + 1);
  m.fetch_count = on_device<std::uint32_t>(1);
  m.host_count = on_device<std::uint32_t>(1);
  m.faults = on_device<std::uint32_t>(1);
  m.x_rows = on_device<std::uint32_t>(s.pairs());
  m.x_weights = on_device<float>(s.pairs());
  m.hidden = on_device<float>(std::size_t{s.rows} * s.embedding);
  m.sums = on_device<float>(std::size_t{s.rows} * s.embedding);
  m.logits = on_device<float>(std::size_t{s.rows} * s.experts);
  m.weights = on_device<float>(s.pairs());
  m.ids = on_device<std::uint16_t>(s.pairs());
  m.out = on_device<float>(std::size_t{s.pairs()} * s.embedding);
  m.nothing = on_device<float>(s.embedding);
  m.hits = on_device<ExpertJob>(s.pairs());
  m.fetched = on_device<ExpertJob>(s.pairs());
  m.fetches = on_device<kernels::ExpertFetch>(s.pairs());
  m.host_jobs = on_device<kernels::LaneJob>(s.pairs());
  for (Memory::Guess& guess : m.guesses)
    guess = {on_device<kernels::ExpertFetch>(s.used), on_device<std::uint32_t>(1), this};
  m.prefetch_limits = on_device<std::uint32_t>(s.pairs() + 1);
  m.guessed_ids = on_device<std::uint16_t>(s.pairs());
  m.guess_logits = on_device<float>(std::size_t{s.rows} * s.experts);
  m.guess_weights = on_device<float>(s.pairs());
  m.results = on_device<const float*>(s.pairs());
  m.x = activations(s.rows, s.embedding);
  m.expert_hidden = activations(s.pairs(), s.expert_ff);
  m.host_step = mapped<std::uint32_t>(1);
  m.never = mapped<std::uint32_t>(1);
  m.host_hidden = mapped<float>(std::size_t{s.rows} * s.embedding);
  const Bytes block = kernels::lane_block_bytes(lane_shape(s));
  m.block = kernels::lane_block_at(mapped<std::byte>(block.count), lane_shape(s));
  for (std::uint32_t layer = 0; layer < s.layers; ++layer) {
    const kernels::WeightMatrix& router = model_.router(layer);
    m.routers.push_back(on_device<float>(std::size_t{router.rows} * router.columns));
    main_->copy(m.routers.back(), router.data, Bytes(router.bytes()));
  }
  main_->fill(m.nothing, 0, Bytes(s.embedding * sizeof(float)));
  main_->fill(m.faults, 0, Bytes(sizeof(std::uint32_t)));
  main_->synchronize();
}

// Those that are not on disk, in memory that the device reads. No slot has any yet.
void MoeOnDevice::put_experts_in_ram() {
  const MoeShape& s = model_.shape();
  Memory& m = *memory_;
  std::vector<kernels::ExpertSource> sources(s.all_experts());
  for (std::uint32_t i = 0; i < s.all_experts(); ++i) {
    if (MemoryExperts::on_disk(i)) continue;
    const runtime::ExpertWeights weights = model_.expert(i);
    const kernels::WeightMatrix* parts[] = {&weights.gate, &weights.up, &weights.down};
    std::byte* at = mapped<std::byte>(m.layout.size + 3 * kSourceAlignment);
    for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part) {
      std::memcpy(at, parts[part]->data, parts[part]->bytes());
      sources[i].parts[part] = at;
      at += round_up(parts[part]->bytes(), kSourceAlignment);
    }
  }
  std::vector<std::byte*> addresses;
  for (std::uint32_t slot = 0; slot < world_.slots; ++slot)
    addresses.push_back(m.slots + slot * m.layout.size);
  std::vector<std::uint32_t> limits(s.pairs() + 1, world_.fetches);
  upload(const_cast<std::byte**>(m.tables.addresses), addresses);
  upload(const_cast<kernels::ExpertSource*>(m.tables.sources), sources);
  upload(m.fetch_limits, limits);
  upload(m.prefetch_limits, std::vector<std::uint32_t>(s.pairs() + 1, world_.prefetches));
  upload(m.tables.slot_of, std::vector<std::uint32_t>(s.all_experts(), kernels::kNoSlot));
  upload(m.tables.active_in, std::vector<std::uint32_t>(s.all_experts(), kernels::kNever));
  upload(m.tables.guessed, std::vector<std::uint32_t>(s.all_experts()));
  upload(m.tables.slots, std::vector<kernels::ExpertSlot>(world_.slots));
  upload(m.tables.counters, std::vector<kernels::ExpertCounters>(s.layers));
}

void MoeOnDevice::capture() {
  main_->begin_capture();
  for (std::uint32_t layer = 0; layer < model_.shape().layers; ++layer) enqueue_layer(layer);
  enqueue_norm(true, {});
  if (world_.mistake == Mistake::kGatheredAheadBeside) main_->wait(*ahead_);
  if (!world_.device_answers) main_->wait_value({memory_->never}, 1);
  graph_ = main_->end_capture();
}

// A layer's router on the norms that there are.
void MoeOnDevice::enqueue_router(std::uint32_t layer, const Routed& to, kernels::Stream& stream) {
  const MoeShape& s = model_.shape();
  kernels_.product(
      kernels::ProductTask{.format = kernels::WeightFormat::kF32,
                           .rows = s.experts,
                           .columns = s.embedding,
                           .x = QuantizeTask{.to = memory_->x}.result(),
                           .dense = {reinterpret_cast<const std::byte*>(memory_->routers[layer])},
                           .y = to.logits,
                           .y_stride = s.experts},
      stream.native());
  kernels_.route({.spec = model_.router_spec(),
                  .rows = s.rows,
                  .logits = to.logits,
                  .logit_stride = s.experts,
                  .ids = to.ids,
                  .weights = to.weights,
                  .faults = to.faults},
                 stream.native());
}

// The norm of the residual stream, to which the experts of the layer before are added first.
void MoeOnDevice::enqueue_norm(bool adds_experts, const QuantizeTask::Destination& to) {
  const MoeShape& s = model_.shape();
  const Memory& m = *memory_;
  kernels::NormalizeTask task{.rows = s.rows,
                              .columns = s.embedding,
                              .x = m.hidden,
                              .x_stride = s.embedding,
                              .epsilon = kNormEpsilon,
                              .outputs = {{.to = to}}};
  if (adds_experts) {
    task.experts = {.used = s.used,
                    .results = m.results,
                    .weights = m.weights,
                    .sums = m.sums,
                    .stride = s.embedding};
    task.added[0] = {.x = m.sums, .stride = s.embedding};
  }
  kernels_.normalize(task, main_->native());
}

// One MoE layer: norm, with what the layer before gave → route → resolve → hand over → gather
// beside the hits → the fetched → wait for the CPU.
void MoeOnDevice::enqueue_layer(std::uint32_t layer) {
  const MoeShape& s = model_.shape();
  const Memory& m = *memory_;
  kernels::NativeStream stream = main_->native();
  enqueue_norm(layer > 0, m.x);
  enqueue_router(layer, {m.logits, m.ids, m.weights, m.faults}, *main_);
  if (world_.mistake == Mistake::kGatheredBeforeResolve) main_->record(*resolved_);
  kernels_.resolve({.tables = m.tables,
                    .step = m.step,
                    .layer = layer,
                    .first_expert = layer * s.experts,
                    .experts = s.experts,
                    .slots = world_.slots,
                    .layout = m.layout,
                    .all_experts = s.all_experts(),
                    .rows = s.rows,
                    .experts_used = s.used,
                    .ids = m.ids,
                    .weights = m.weights,
                    .fetch_limits = m.fetch_limits,
                    .most_fetches = s.pairs(),
                    .hits = m.hits,
                    .fetched = m.fetched,
                    .fetches = m.fetches,
                    .fetch_count = m.fetch_count,
                    .host_jobs = m.host_jobs,
                    .host_count = m.host_count,
                    .x_rows = m.x_rows,
                    .x_weights = m.x_weights,
                    .results = m.results,
                    .faults = m.faults,
                    .on_device = {m.out, s.embedding},
                    .on_host = {m.block.results, s.embedding},
                    .nothing = m.nothing},
                   stream);
  enqueue_poison();
  enqueue_hand_over(layer);
  if (world_.mistake != Mistake::kGatheredBeforeResolve) main_->record(*resolved_);
  copies_->wait(*resolved_);
  kernels_.gather({.fetches = m.fetches,
                   .count = m.fetch_count,
                   .most = s.pairs(),
                   .layout = m.layout,
                   .blocks = 2},
                  copies_->native());
  copies_->record(*gathered_);
  const bool guesses = world_.prefetches > 0 && layer + 1 < s.layers;
  if (guesses) enqueue_guess(layer + 1);
  enqueue_product(m.hits, s.pairs());
  if (world_.mistake != Mistake::kComputedBeforeGather) main_->wait(*gathered_);
  enqueue_product(m.fetched, s.pairs());
  main_->wait(*gathered_);
  if (guesses) main_->wait(*guessed_);
  if (world_.mistake != Mistake::kCombinedBeforeTheCpu)
    main_->wait_value({&m.block.control->done}, kernels::lane_stamp(layer));
}

// Beside the layer that was resolved last, the next one's router on its input; what that guesses is
// gathered behind the layer's fetches.
void MoeOnDevice::enqueue_guess(std::uint32_t next) {
  const MoeShape& s = model_.shape();
  const Memory& m = *memory_;
  const bool one_list = world_.mistake == Mistake::kOneListOfGuesses;
  Memory::Guess& list = memory_->guesses[one_list ? 0 : next % 2];
  const kernels::NativeStream stream = guesses_->native();
  guesses_->wait(*resolved_);
  enqueue_router(next, {m.guess_logits, m.guessed_ids, m.guess_weights}, *guesses_);
  kernels_.prefetch({.tables = m.tables,
                     .step = m.step,
                     .layer = next,
                     .first_expert = next * s.experts,
                     .experts = s.experts,
                     .slots = world_.slots,
                     .rows = s.rows,
                     .experts_used = s.used,
                     .ids = m.guessed_ids,
                     .limits = m.prefetch_limits,
                     .fetch_count = m.fetch_count,
                     .most = s.used,
                     .fetches = list.fetches,
                     .count = list.count},
                    stream);
  // As enqueue_poison().
  guesses_->call_host(
      [](void* context) {
        const auto& guess = *static_cast<const Memory::Guess*>(context);
        const MoeOnDevice& self = *guess.device;
        const Memory& memory = *self.memory_;
        for (std::uint32_t i = 0; i < *guess.count; ++i)
          std::memset(guess.fetches[i].to, 0xff, memory.layout.size);
        if (self.world_.mistake == Mistake::kGuessIsAHit)
          std::fill_n(memory.tables.guessed, self.model_.shape().all_experts(), 0u);
      },
      &list);
  guesses_->record(*guessed_);
  kernels::Stream& link = world_.mistake == Mistake::kGatheredAheadBeside ? *beside_ : *copies_;
  link.wait(*guessed_);
  kernels_.gather({.fetches = list.fetches,
                   .count = list.count,
                   .most = s.used,
                   .layout = m.layout,
                   .blocks = 2},
                  link.native());
  if (world_.mistake == Mistake::kGatheredAheadBeside) beside_->record(*ahead_);
}

// What was given to a fetched expert, and what will be the CPU's results, is ones until it is
// filled: weights and values that are NaN.
void MoeOnDevice::enqueue_poison() {
  main_->call_host(
      [](void* context) {
        const auto& self = *static_cast<const MoeOnDevice*>(context);
        const Memory& m = *self.memory_;
        for (std::uint32_t i = 0; i < *m.fetch_count; ++i)
          std::memset(m.fetches[i].to, 0xff, m.layout.size);
        const MoeShape& s = self.model_.shape();
        std::memset(m.block.results, 0xff, s.pairs() * s.embedding * sizeof(float));
      },
      this);
}

void MoeOnDevice::enqueue_hand_over(std::uint32_t layer) {
  const Memory& m = *memory_;
  kernels_.hand_over({.jobs = m.host_jobs,
                      .job_count = m.host_count,
                      .x_rows = m.x_rows,
                      .x_weights = m.x_weights,
                      .x = QuantizeTask{.to = m.x}.result(),
                      .to = m.block,
                      .stamp = kernels::lane_stamp(layer)},
                     main_->native());
}

void MoeOnDevice::enqueue_product(const ExpertJob* jobs, std::uint32_t count) {
  const MoeShape& s = model_.shape();
  const Memory& m = *memory_;
  const runtime::ExpertWeights weights = model_.expert(0);
  kernels_.product(kernels::ProductTask{.format = weights.gate.format,
                                        .rows = s.expert_ff,
                                        .columns = s.embedding,
                                        .x = QuantizeTask{.to = m.x}.result(),
                                        .matrices = 2,
                                        .jobs = jobs,
                                        .job_count = count,
                                        .x_rows = m.x_rows,
                                        .most_rows = s.rows,
                                        .hidden = m.expert_hidden},
                   main_->native());
  kernels_.product(kernels::ProductTask{.format = weights.down.format,
                                        .rows = s.embedding,
                                        .columns = s.expert_ff,
                                        .x = QuantizeTask{.to = m.expert_hidden}.result(),
                                        .jobs = jobs,
                                        .job_count = count,
                                        .job_matrix = 2,
                                        .most_rows = s.rows,
                                        .y = m.out,
                                        .y_stride = s.embedding},
                   main_->native());
}

std::vector<float> MoeOnDevice::step(const std::vector<float>& hidden) {
  const Memory& m = *memory_;
  const Bytes bytes(hidden.size() * sizeof(float));
  *m.host_step += 1;
  std::ranges::copy(hidden, m.host_hidden);
  const auto run = [&] {
    main_->copy(m.step, m.host_step, Bytes(sizeof(std::uint32_t)));
    main_->copy(m.hidden, m.host_hidden, bytes);
    main_->launch(*graph_);
    main_->copy(m.host_hidden, m.hidden, bytes);
    main_->record(*finished_);
    // A model of time: where nothing happens for long, it passes quickly.
    struct ModelledClock final : Clock {
      Nanoseconds now() const override { return at; }
      Nanoseconds at{0};
    } clock;
    const bool all_answer = world_.cpu_answers && world_.device_answers;
    const auto finished = [&] {
      if (all_answer) finished_->wait();
      for (int i = 0; i < 200 && !finished_->reached(); ++i) {
      }
      clock.at += std::chrono::milliseconds(500);
      return finished_->reached();
    };
    runtime::wait_for_step(finished, *lane_, clock);
  };
  if (thread_ != nullptr) {
    thread_->begin_step();
    run();
    thread_->end_step();
  } else {
    lane_->begin_step();
    run();
    lane_->rethrow();
  }
  return {m.host_hidden, m.host_hidden + hidden.size()};
}

std::uint64_t MoeOnDevice::count(std::uint64_t kernels::ExpertCounters::* counter) const {
  std::uint64_t sum = 0;
  for (std::uint32_t layer = 0; layer < model_.shape().layers; ++layer)
    sum += memory_->tables.counters[layer].*counter;
  return sum;
}

}  // namespace hearth::sim
