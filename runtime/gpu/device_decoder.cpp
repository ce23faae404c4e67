#include "runtime/gpu/device_decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "runtime/gpu/device_random_cache.h"

namespace hearth::runtime {

using kernels::GpuKernels;

DeviceNeeds device_needs(const Model& model) {
  DeviceNeeds needs;
  for (const Layer& layer : model.layers)
    for (const auto& block : layer.blocks) block->device_needs(needs);
  for (std::uint32_t l = 0; l < model.experts.layers(); ++l) {
    const LayerExperts& experts = model.experts.layer(static_cast<LayerIndex>(l));
    const ExpertSlab& gate = experts.slab(ExpertMatrix::kGate);
    if (gate.format != experts.slab(ExpertMatrix::kUp).format)
      ScratchShape::raise(needs.expert_gate_columns, 2 * gate.rows);
  }
  return needs;
}

namespace {

// What memory carries in the few microseconds of a launch of few blocks, and no more of the cache
// than leaves room for what is asked for next and for what is read meanwhile.
Bytes most_ahead(const kernels::DeviceProperties& device) {
  if (!device.prefetches || !is_wanted(kernels::DeviceHabit::kAhead)) return Bytes(0);
  return std::min(Bytes(device.l2.count / 4), 8 * kMiB);
}

// More shapes of steps than a prompt and its answer have.
constexpr std::size_t kMostGraphs = 16;
constexpr Bytes kGraphRoom = 32 * kMiB;
constexpr const char* kGraphs = "the graphs of steps";
constexpr const char* kKeysAndValues = "keys and values";

DeviceKv::Options kv_options(const DeviceDecoder::Options& options) {
  return {.formats = options.formats,
          .context = options.context,
          .positions = options.positions == 0 ? options.context : options.positions,
          .batch = options.batch};
}

ScratchShape scratch_shape(const Model& model, std::uint32_t batch) {
  ScratchShape shape = model.scratch_shape();
  shape.rows = batch;
  shape.logit_rows = DeviceOutputs::kMostLogitRows;
  return shape;
}

void record_embedding(const Model& model, const DeviceStep& step) {
  const kernels::WeightMatrix& table = *model.token_embedding;
  step.launch(&GpuKernels::embed, {.format = table.format,
                                   .vocabulary = table.rows,
                                   .columns = table.columns,
                                   .table = step.weights.of(table),
                                   .rows = step.rows,
                                   .ids = step.inputs.tokens(),
                                   .scale = model.embedding_scale,
                                   .out = step.scratch.hidden,
                                   .out_stride = step.embedding(),
                                   .unknown = step.outputs.unknown_tokens()});
}

}  // namespace

DeviceDecoder::Options DeviceDecoder::options(const Engine& engine) {
  return {.context = engine.plan().context,
          .formats = engine.kv_formats(),
          .positions = engine.plan().vram->positions,
          .batch = std::max(engine.plan().batch, kMostDeviceRows)};
}

DeviceDecoder::Plan DeviceDecoder::plan(const Model& model, const Options& options) {
  const auto counted = [](auto&& carve) {
    DeviceArena arena;
    carve(arena);
    return arena.taken();
  };
  const Bytes inputs = DeviceInputs::bytes_needed(model, device_needs(model), kMostDeviceRows);
  return {.kv = DeviceKv::bytes_needed(model.kv_layers(), kv_options(options)),
          .state = counted(
              [&](DeviceArena& arena) { DeviceRecurrent(model.recurrent_layers(), arena); }),
          .scratch = counted([&](DeviceArena& arena) {
            DeviceScratch(scratch_shape(model, options.batch), device_needs(model), arena);
          }),
          .inputs = inputs,
          .pinned = inputs + DeviceOutputs::bytes_needed(model, options.batch)};
}

DeviceDecoder::DeviceDecoder(DeviceModel& model, const Options& options)
    : model_(model),
      needs_(device_needs(model.model())),
      plan_(plan(model.model(), options)),
      first_positions_(kv_options(options).positions),
      state_memory_(model.device(), plan_.state, "the state of recurrent layers"),
      scratch_memory_(model.device(), plan_.scratch, "scratch"),
      kv_(model.model().kv_layers(), kv_options(options), model.device()),
      recurrent_(model.model().recurrent_layers(), state_memory_),
      scratch_(scratch_shape(model.model(), options.batch), needs_, scratch_memory_),
      inputs_(model.model(), needs_, kMostDeviceRows, model.device()),
      outputs_(model.model(), options.batch, model.device()) {
  CHECK_GE(options.batch, kMostDeviceRows);
  scratch_.lists.reset(model_.stream());
  reset();
}

void DeviceDecoder::decode(std::span<const TokenId> tokens, std::uint32_t position,
                           std::uint32_t first_logits_row, LogitsSink sink, RoutingSink on_routed) {
  const auto rows = static_cast<std::uint32_t>(tokens.size());
  CHECK(rows > 0 && rows <= kMostDeviceRows);
  CHECK_LE(position + rows, kv_.context());
  CHECK_LE(first_logits_row, rows);
  const bool forced = forced_routing_ != nullptr;
  provide(position + rows, position);
  const StepShape shape{.rows = rows,
                        .first_logits_row = first_logits_row,
                        .forced = forced,
                        .timed = model_.lane_times() != nullptr,
                        .prefetch = !forced && model_.prefetches(rows)};
  RecordedStep& step = recorded(shape);
  inputs_.write(tokens, position, model_.next_step());
  begin_outputs();
  if (forced) inputs_.write_forced(*forced_routing_, position, rows);
  model_.run([&] { enqueue(shape, step); }, rows);
  give_routing(rows, position, on_routed);
  give_logits(first_logits_row, rows - first_logits_row, position, sink);
  // A step may take more when it is launched for the first time.
  if (!std::exchange(step.ran, true)) keep_within_budget(shape);
}

DeviceDecoder::RecordedStep& DeviceDecoder::recorded(const StepShape& shape) {
  RecordedStep& step = graphs_[shape];
  step.last_use = ++uses_;
  if (step.graph != nullptr) return step;
  while (graphs_.size() > kMostGraphs)
    graphs_.erase(
        std::ranges::min_element(graphs_, {}, [](const auto& one) { return one.second.last_use; }));
  if (model_.host_cache() != nullptr) return step;
  capture(shape, step);
  keep_within_budget(shape);
  return step;
}

void DeviceDecoder::enqueue(const StepShape& shape, const RecordedStep& step) const {
  if (step.graph != nullptr)
    model_.stream().launch(*step.graph);
  else
    record(shape);
}

void DeviceDecoder::capture(const StepShape& shape, RecordedStep& step) {
  const auto try_to = [&] {
    step.graph = kernels::captured(model_.stream(), [&] { record(shape); });
    return step.graph != nullptr;
  };
  if (try_to()) return;
  if (!model_.try_make_room(kGraphRoom, kGraphs)) forget_graphs(&shape);
  if (!try_to())
    throw_error(ErrorCode::kBudget,
                "{}: the driver has no memory for {}; end other programs that use it, or give a "
                "smaller --vram",
                device().properties().name, kGraphs);
}

// Experts give up slots; where they are on the device for good, other graphs go.
void DeviceDecoder::keep_within_budget(const StepShape& shape) {
  if (model_.has_room(Bytes(0))) return;
  if (model_.lanes() == nullptr) forget_graphs(&shape);
  model_.make_room(Bytes(0), kGraphs);
}

void DeviceDecoder::forget_graphs(const StepShape* but) {
  std::erase_if(graphs_, [&](const auto& one) { return but == nullptr || one.first != *but; });
}

void DeviceDecoder::prepare() {
  recorded({.rows = 1});
  recorded({.rows = kMostDeviceRows, .first_logits_row = kMostDeviceRows});
}

// Whole tiles of every format.
std::uint32_t DeviceDecoder::least_positions(std::uint32_t needed) const {
  constexpr std::uint32_t kStep = 128;
  return std::min(static_cast<std::uint32_t>(round_up(needed, kStep)), kv_.context());
}

std::uint32_t DeviceDecoder::positions_for(std::uint32_t needed) const {
  std::uint64_t positions = first_positions_;
  while (positions < needed) positions *= 2;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(positions, kv_.context()));
}

// Less memory only where a quarter is enough: half of it would soon be wanted again.
void DeviceDecoder::provide(std::uint32_t positions, std::uint32_t kept) {
  const std::uint32_t there = kv_.positions(), wanted = positions_for(positions);
  if (positions <= there && wanted > there / 4) return;
  if (model_.try_make_room(kv_.needed_to_resize(wanted, kept), kKeysAndValues))
    return resize(wanted, kept);
  const std::uint32_t least = least_positions(positions);
  if (positions <= there) return;  // there is no room to have less
  model_.make_room(kv_.needed_to_resize(least, kept), kKeysAndValues);
  resize(least, kept);
}

void DeviceDecoder::resize(std::uint32_t positions, std::uint32_t kept) {
  const bool less = positions < kv_.positions();
  forget_graphs(nullptr);
  kv_.resize(positions, kept, model_.stream());
  if (less) model_.take_slots_back();
}

void DeviceDecoder::record(const StepShape& shape) const {
  DeviceStep step = new_step(shape.rows, inputs_, nullptr);
  if (shape.timed) step.times = model_.lane_times();
  if (shape.prefetch) step.prefetch = model_.lanes()->prefetch();
  step.host_cache = model_.host_cache();
  inputs_.upload(step.stream);
  if (shape.forced) inputs_.upload_forced(step.stream);
  record_layers(step);
  if (shape.first_logits_row == shape.rows) return;
  const Model& model = model_.model();
  record_logits(step, step.leave(model.config.rms_epsilon, model.output_norm,
                                 shape.first_logits_row, step.ahead({model.output})));
}

DeviceStep DeviceDecoder::new_step(std::uint32_t rows, const DeviceInputs& inputs,
                                   ChunkExperts* chunk) const {
  return {.rows = rows,
          .forced = forced_routing_ != nullptr,
          .kernels = model_.kernels(),
          .stream = model_.stream(),
          .weights = model_.weights(),
          .catalog = model_.model().experts,
          .experts = model_.experts(),
          .lanes = model_.lanes(),
          .times = nullptr,
          .prefetch = nullptr,
          .host_cache = nullptr,
          .chunk = chunk,
          .kv = kv_,
          .recurrent = recurrent_,
          .scratch = scratch_,
          .inputs = inputs,
          .outputs = outputs_,
          .most_ahead = most_ahead(model_.device().properties())};
}

void DeviceDecoder::record_layers(DeviceStep& step) const {
  record_embedding(model_.model(), step);
  for (const Layer& layer : model_.model().layers)
    for (const auto& block : layer.blocks) block->record(step);
}

void DeviceDecoder::record_logits(const DeviceStep& step,
                                  const kernels::Activations& normed) const {
  const Model& model = model_.model();
  const std::uint32_t vocabulary = model.config.vocabulary;
  CHECK_LE(normed.rows, scratch_.shape.logit_rows);
  step.multiply(normed, {{model.output, scratch_.logits}}, vocabulary);
  step.launch(&GpuKernels::sample, {.rows = normed.rows,
                                    .vocabulary = vocabulary,
                                    .logits = scratch_.logits,
                                    .stride = vocabulary,
                                    .softcap = model.logit_softcap,
                                    .chosen = outputs_.best(),
                                    .scratch = scratch_.candidates});
  step.stream.copy(outputs_.logits(), scratch_.logits,
                   Bytes(std::uint64_t{normed.rows} * vocabulary * sizeof(float)));
}

void DeviceDecoder::begin_outputs() const { *outputs_.expert_faults() = 0; }

// Tokens were checked before the step, and the ids of a router are valid whatever its scores are. A
// trace may have an expert twice in a row, which changes no result.
void DeviceDecoder::check_counts() const {
  CHECK_EQ(*outputs_.unknown_tokens(), 0u);
  if (forced_routing_ == nullptr) CHECK_EQ(*outputs_.expert_faults(), 0u);
}

void DeviceDecoder::give_routing(std::uint32_t rows, std::uint32_t position,
                                 RoutingSink on_routed) const {
  check_counts();
  const Model& model = model_.model();
  const std::size_t pairs = std::size_t{rows} * model.config.experts_used;
  for (std::uint32_t l = 0; l < model.experts.layers(); ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    if (model.experts.layer(layer).count == 0) continue;
    const profiler::Routing routing{.layer = layer,
                                    .rows = rows,
                                    .experts_per_row = model.config.experts_used,
                                    .experts = {outputs_.chosen(layer), pairs},
                                    .weights = {outputs_.chosen_weights(layer), pairs},
                                    .position = position};
    model_.used(layer, routing.experts);
    on_routed(routing);
  }
}

void DeviceDecoder::give_logits(std::uint32_t first_row, std::uint32_t rows, std::uint32_t position,
                                LogitsSink sink) const {
  const std::uint32_t vocabulary = model_.model().config.vocabulary;
  for (std::uint32_t nth = 0; nth < rows; ++nth) {
    if (std::isnan(outputs_.best()[nth].logit)) throw_not_finite(position + first_row + nth);
    sink(first_row + nth, {outputs_.logits() + std::size_t{nth} * vocabulary, vocabulary});
  }
}

void DeviceDecoder::visit_state(std::uint32_t position,
                                FunctionRef<void(std::span<std::byte>)> visit) const {
  kv_.visit(position, visit);
  if (position > 0 && !recurrent_.memory().empty()) visit(recurrent_.memory());
}

void DeviceDecoder::fill_at_random(std::uint32_t positions, std::uint64_t seed) {
  provide(positions, 0);
  const DeviceRandomCache random(model_.model().kv_layers(), seed, model_.device());
  for (std::uint32_t position = 0; position < positions;) {
    const std::uint32_t rows = std::min(kMostDeviceRows, positions - position);
    const std::vector<TokenId> tokens(rows);
    inputs_.write(tokens, position, 0);
    inputs_.upload(model_.stream());
    random.append(new_step(rows, inputs_, nullptr), position);
    model_.stream().synchronize();
    position += rows;
  }
}

void DeviceDecoder::reset() {
  recurrent_.reset(model_.stream());
  if (kv_.positions() > first_positions_) resize(first_positions_, 0);
}

}  // namespace hearth::runtime
