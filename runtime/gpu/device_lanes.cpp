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

std::uint32_t limits_count(const Model& model, std::uint32_t classes, std::uint32_t rows) {
  return classes * (rows * model.config.experts_used + 1);
}

profiler::FetchLadder with_a_rung(profiler::FetchLadder ladder, std::uint32_t pairs) {
  if (ladder.rungs.empty()) ladder = {.rungs = {profiler::FetchTable(pairs + 1, 0)}};
  for (const profiler::FetchTable& table : ladder.rungs)
    CHECK_EQ(table.size(), std::size_t{pairs} + 1);
  return ladder;
}

std::uint32_t classes_of(const std::vector<std::uint8_t>& class_of_layer) {
  std::uint32_t classes = 0;
  for (const std::uint8_t one : class_of_layer)
    if (one != profiler::Residency::kNoClass) classes = std::max(classes, one + 1u);
  return classes;
}

}  // namespace

DeviceLanes::Plan DeviceLanes::plan(const Model& model, std::uint32_t rows, std::uint32_t threads) {
  const SizeClasses classes = size_classes(model.experts, kernels::kSlotAlignment);
  const CpuLane::Shape shape = lane_shape(model, rows, threads);
  const auto count =
      limits_count(model, static_cast<std::uint32_t>(classes.slot_bytes.size()), rows);
  DeviceArena counted;
  counted.take<std::uint32_t>(count);
  return {.device = counted.taken(),
          .mapped = kernels::lane_block_bytes(shape.block) + Bytes(count * sizeof(std::uint32_t)),
          .host = CpuLane::bytes_needed(shape)};
}

profiler::LayerExperts DeviceLanes::experts_of_step(const Model& model, std::uint32_t rows) {
  return {.used = rows * model.config.experts_used,
          .expert_bytes = static_cast<double>(model.experts.bytes().count) / model.experts.total()};
}

DeviceLanes::DeviceLanes(Engine& engine, ExpertArena& experts, kernels::Device& device,
                         kernels::Stream& stream, std::uint32_t rows, profiler::FetchLadder fetches)
    : engine_(engine),
      experts_(experts),
      device_(device),
      stream_(stream),
      pairs_(rows * engine.config().experts_used),
      class_of_layer_(size_classes(engine.model().experts, kernels::kSlotAlignment).class_of_layer),
      fetches_(with_a_rung(std::move(fetches), pairs_)),
      tuner_(static_cast<std::uint32_t>(fetches_.rungs.size()), fetches_.measured),
      link_(device.new_stream(kernels::StreamPriority::kHigh)),
      resolved_(device.new_event(kernels::EventTiming::kNone)),
      gathered_(device.new_event(kernels::EventTiming::kNone)),
      finished_(device.new_event(kernels::EventTiming::kNone)),
      memory_(device, plan(engine.model(), rows, engine.threads()).device, "limits of fetches"),
      stored_(engine.experts(), most_experts(engine.model())),
      sources_(engine, experts, device) {
  const Model& model = engine.model();
  const std::uint32_t count = limits_count(model, classes_of(class_of_layer_), rows);
  limits_ = memory_.take<std::uint32_t>(count);
  host_limits_ = mapped_memory(device, Bytes(count * sizeof(std::uint32_t)), "limits of fetches");
  const CpuLane::Shape shape = lane_shape(model, rows, engine.threads());
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
}

const std::uint32_t* DeviceLanes::fetch_limits(LayerIndex layer) const {
  return limits_ + std::size_t{class_of_layer_[layer]} * (pairs_ + 1);
}

void DeviceLanes::begin_link(kernels::Stream& stream) const {
  stream.record(*resolved_);
  link_->wait(*resolved_);
}

void DeviceLanes::wait_for_cpu(kernels::Stream& stream, LayerIndex layer) const {
  stream.wait_value({&block_.control->done}, kernels::lane_stamp(layer));
}

void DeviceLanes::run(const kernels::Graph& step, std::uint32_t rows) {
  if (under_way_)
    throw_error(ErrorCode::kDevice, "{}: an earlier step did not end; start the program again",
                device_.properties().name);
  sources_.take();
  send_limits();
  engine_.experts().begin_step();
  under_way_ = true;
  const Nanoseconds start = engine_.clock().now();
  thread_->begin_step();
  stream_.launch(step);
  stream_.record(*finished_);
  wait_for_step([&] { return finished_->reached(); }, *lane_, engine_.clock());
  under_way_ = false;
  const Nanoseconds end = engine_.clock().now();
  thread_->end_step();
  if (rows == 1) tuner_.observe(end - start);
}

// A class with fewer slots than a token uses would lose each expert before it recurs: what is in
// them stays there, and the CPU serves the rest.
void DeviceLanes::send_limits() {
  const std::uint32_t rung = tuner_.rung();
  if (std::exchange(limits_sent_, rung) == rung) return;
  auto* const limits = reinterpret_cast<std::uint32_t*>(host_limits_.data());
  const std::uint32_t classes = classes_of(class_of_layer_), each = pairs_ + 1;
  for (std::uint32_t c = 0; c < classes; ++c) {
    const auto size_class = static_cast<std::uint8_t>(c);
    if (experts_.slots(size_class) >= slots_of_a_step(size_class))
      std::ranges::copy(fetches_.rungs[rung], limits + std::size_t{c} * each);
    else
      std::fill_n(limits + std::size_t{c} * each, each, 0u);
  }
  stream_.copy(limits_, limits, Bytes(std::uint64_t{classes} * each * sizeof(std::uint32_t)));
}

std::uint32_t DeviceLanes::slots_of_a_step(std::uint8_t size_class) const {
  const auto layers = std::ranges::count(class_of_layer_, size_class);
  return static_cast<std::uint32_t>(layers) * engine_.config().experts_used;
}

}  // namespace hearth::runtime
