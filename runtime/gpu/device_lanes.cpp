#include "runtime/gpu/device_lanes.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "runtime/gpu/mapped.h"

namespace hearth::runtime {
namespace {

std::vector<RoutedLayer> routed_layers(const Model& model) {
  DeviceNeeds needs;
  for (const Layer& layer : model.layers)
    for (const auto& block : layer.blocks) block->device_needs(needs);
  return needs.routed;
}

bool takes_floats(const ExpertSlab& slab) {
  return slab.bytes > 0 && !kernels::takes_quantized_activations(slab.format);
}

CpuLane::Shape lane_shape(const Model& model, std::uint32_t rows, std::uint32_t threads) {
  CpuLane::Shape shape{.block = {.rows = rows,
                                 .experts_used = model.config.experts_used,
                                 .embedding = model.config.embedding},
                       .threads = threads};
  for (const RoutedLayer& routed : routed_layers(model)) {
    const LayerExperts& layer = model.experts.layer(routed.layer);
    shape.expert_ff = std::max(shape.expert_ff, routed.experts->width);
    if (takes_floats(layer.slab(ExpertMatrix::kGate)) ||
        takes_floats(layer.slab(ExpertMatrix::kUp)))
      shape.block.with_values = true;
  }
  return shape;
}

std::uint32_t most_experts(const Model& model) { return std::ranges::max(model.experts.counts()); }

// Of fetches and of prefetches.
std::uint32_t limits_count(const Model& model, std::uint32_t classes, std::uint32_t rows) {
  return 2 * classes * (rows * model.config.experts_used + 1);
}

profiler::FetchLadder with_a_rung(profiler::FetchLadder ladder, std::uint32_t pairs) {
  if (ladder.rungs.empty()) ladder = {.rungs = {profiler::FetchTable(pairs + 1, 0)}};
  for (const profiler::FetchTable& table : ladder.rungs)
    CHECK_EQ(table.size(), std::size_t{pairs} + 1);
  return ladder;
}

std::uint32_t class_count(const Model& model) {
  return static_cast<std::uint32_t>(
      size_classes(model.experts, kernels::kSlotAlignment).slot_bytes.size());
}

}  // namespace

DeviceLanes::Pieces::Pieces(const Model& model, std::uint32_t rows, DeviceArena& arena)
    : limits(arena.take<std::uint32_t>(limits_count(model, class_count(model), rows))),
      prefetch(model, arena) {}

DeviceLanes::Plan DeviceLanes::plan(const Model& model, std::uint32_t rows, std::uint32_t threads,
                                    GpuCache cache) {
  const CpuLane::Shape shape = lane_shape(model, rows, threads);
  DeviceArena counted;
  const Pieces pieces(model, rows, counted);
  Plan plan{.device = counted.taken(),
            .mapped = kernels::lane_block_bytes(shape.block) +
                      Bytes(limits_count(model, class_count(model), rows) * sizeof(std::uint32_t)),
            .host = CpuLane::bytes_needed(shape)};
  if (cache == GpuCache::kHost) plan.mapped += HostCache::bytes_needed(shape.block.pairs());
  return plan;
}

profiler::LayerExperts DeviceLanes::experts_of_step(const Model& model, std::uint32_t rows) {
  return {.used = rows * model.config.experts_used,
          .expert_bytes = static_cast<double>(model.experts.bytes().count) / model.experts.total()};
}

profiler::PrefetchLink DeviceLanes::prefetch_link(const Model& model,
                                                  profiler::BytesPerSecond rate) {
  profiler::PrefetchLink link{.rate = rate, .experts_per_token = model.config.experts_used};
  for (const RoutedLayer& routed : routed_layers(model)) {
    link.layers += 1;
    link.largest_expert =
        std::max(link.largest_expert, Bytes(model.experts.layer(routed.layer).bytes()));
  }
  return link;
}

DeviceLanes::DeviceLanes(Engine& engine, ExpertArena& experts, kernels::Device& device,
                         kernels::Stream& stream, const Options& options)
    : engine_(engine),
      experts_(experts),
      device_(device),
      stream_(stream),
      pairs_(options.rows * engine.config().experts_used),
      fetches_(with_a_rung(options.fetches, pairs_)),
      tuner_(static_cast<std::uint32_t>(fetches_.rungs.size()), fetches_.measured,
             options.prefetch),
      link_(device.new_stream(kernels::StreamPriority::kHigh)),
      resolved_(device.new_event(kernels::EventTiming::kNone)),
      gathered_(device.new_event(kernels::EventTiming::kNone)),
      finished_(device.new_event(kernels::EventTiming::kNone)),
      memory_(device, plan(engine.model(), options.rows, engine.threads()).device,
              "what lanes share"),
      pieces_(engine.model(), options.rows, memory_),
      wanted_limits_(limits_count(engine.model(), classes(), options.rows)),
      stored_(engine.experts(), most_experts(engine.model())),
      sources_(engine, experts, device) {
  const Model& model = engine.model();
  if (options.prefetch) prefetch_.emplace(pieces_.prefetch, device);
  host_limits_ = mapped_memory(device, Bytes(wanted_limits_.size() * sizeof(std::uint32_t)),
                               "limits of fetches");
  const CpuLane::Shape shape = lane_shape(model, options.rows, engine.threads());
  block_memory_ =
      mapped_memory(device, kernels::lane_block_bytes(shape.block), "what the CPU computes");
  block_ = kernels::lane_block_at(block_memory_.data(), shape.block);
  lane_memory_ = io::Arena(CpuLane::bytes_needed(shape), io::Arena::Pages::kDefault);
  std::vector<const ExpertFfn*> layers(model.config.layers);
  for (const RoutedLayer& routed : routed_layers(model)) layers[routed.layer] = routed.experts;
  lane_ = std::make_unique<CpuLane>(
      CpuLane::Options{.shape = shape, .block = block_, .layers = std::move(layers)},
      engine.kernels(), engine.pool(), stored_, lane_memory_);
  thread_ = std::make_unique<CpuLaneThread>(*lane_);
  if (options.cache == GpuCache::kDevice) return;
  CHECK(!prefetch_);
  host_cache_ = std::make_unique<HostCache>(device, pairs_, *lane_, engine.clock());
}

const std::uint32_t* DeviceLanes::limits_of(LayerIndex layer, const std::uint32_t* all) const {
  return all + std::size_t{experts_.experts().class_of_layer[layer]} * (pairs_ + 1);
}

const std::uint32_t* DeviceLanes::fetch_limits(LayerIndex layer) const {
  if (host_cache_ == nullptr) return limits_of(layer, pieces_.limits);
  return limits_of(layer, reinterpret_cast<const std::uint32_t*>(host_limits_.data()));
}

const std::uint32_t* DeviceLanes::prefetch_limits(LayerIndex layer) const {
  return limits_of(layer, pieces_.limits) + std::size_t{classes()} * (pairs_ + 1);
}

void DeviceLanes::begin_link(kernels::Stream& stream) const {
  stream.record(*resolved_);
  link_->wait(*resolved_);
}

void DeviceLanes::wait_for_cpu(kernels::Stream& stream, LayerIndex layer) const {
  stream.wait_value({&block_.control->done}, kernels::lane_stamp(layer));
}

void DeviceLanes::throw_if_under_way() const {
  if (under_way_)
    throw_error(ErrorCode::kDevice, "{}: an earlier step did not end; start the program again",
                device_.properties().name);
}

void DeviceLanes::begin_chunk() {
  throw_if_under_way();
  sources_.take();
  engine_.experts().begin_step();
}

void DeviceLanes::run(FunctionRef<void()> enqueue, std::uint32_t rows) {
  throw_if_under_way();
  sources_.take();
  send_limits();
  engine_.experts().begin_step();
  under_way_ = true;
  const Nanoseconds start = engine_.clock().now();
  thread_->begin_step();
  const bool counts = prefetch_ && ++uncounted_steps_ >= profiler::PairedTrial::kWindowSteps;
  if (counts) uncounted_steps_ = 0;
  try {
    enqueue();
    if (counts) experts_.send_counters();
    stream_.record(*finished_);
    wait_for_step([&] { return finished_->reached(); }, *lane_, engine_.clock());
  } catch (...) {
    device_.abandon();
    throw;
  }
  under_way_ = false;
  const Nanoseconds end = engine_.clock().now();
  thread_->end_step();
  if (counts) prefetches_ = prefetches_of(experts_.counters_sent());
  // With waits of the host in it a step's time says nothing of its lanes.
  if (rows == 1 && host_cache_ == nullptr) tuner_.observe(end - start, prefetches_);
}

void DeviceLanes::send_limits() {
  const std::size_t each = pairs_ + 1;
  const std::span<std::uint32_t> wanted(wanted_limits_);
  for (std::uint8_t c = 0; c < classes(); ++c)
    write_limits(c, wanted.subspan(c * each, each),
                 wanted.subspan((std::size_t{classes()} + c) * each, each));
  auto* const sent = reinterpret_cast<std::uint32_t*>(host_limits_.data());
  if (std::exchange(limits_sent_, true) && std::equal(wanted.begin(), wanted.end(), sent)) return;
  std::ranges::copy(wanted, sent);
  stream_.copy(pieces_.limits, sent, Bytes(wanted.size_bytes()));
}

// A class with fewer slots for it than a token uses would lose each expert before it recurs: what
// is in them stays there, and the CPU serves the rest.
void DeviceLanes::write_limits(std::uint8_t size_class, std::span<std::uint32_t> fetched,
                               std::span<std::uint32_t> prefetched) const {
  const bool recur = experts_.following(size_class) >= slots_of_a_token(size_class);
  const profiler::FetchTable& table = fetches_.rungs[tuner_.rung()];
  for (std::uint32_t n = 0; n <= pairs_; ++n) {
    fetched[n] = recur ? table[n] : 0;
    prefetched[n] = recur ? tuner_.prefetch_limit(n) : 0;
  }
}

std::uint32_t DeviceLanes::classes() const {
  return static_cast<std::uint32_t>(experts_.experts().slot_bytes.size());
}

std::uint32_t DeviceLanes::slots_of_a_token(std::uint8_t size_class) const {
  const auto layers = std::ranges::count(experts_.experts().class_of_layer, size_class);
  return static_cast<std::uint32_t>(layers) * engine_.config().experts_used;
}

}  // namespace hearth::runtime
