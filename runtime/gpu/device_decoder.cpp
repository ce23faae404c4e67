#include "runtime/gpu/device_decoder.h"

#include <cmath>

#include "base/check.h"

namespace hearth::runtime {

using kernels::GpuKernels;

namespace {

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

ScratchShape scratch_shape(const Model& model) {
  ScratchShape shape = model.scratch_shape();
  shape.rows = kMostDeviceRows;
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

void record_logits(const Model& model, DeviceStep& step, std::uint32_t first_row) {
  const std::uint32_t rows = step.rows - first_row, vocabulary = model.config.vocabulary;
  if (rows == 0) return;
  float* const logits = step.scratch.logits;
  step.multiply(*model.output, step.leave(model.config.rms_epsilon, model.output_norm, first_row),
                logits, vocabulary);
  step.launch(&GpuKernels::sample, {.rows = rows,
                                    .vocabulary = vocabulary,
                                    .logits = logits,
                                    .stride = vocabulary,
                                    .softcap = model.logit_softcap,
                                    .chosen = step.outputs.best(),
                                    .scratch = step.scratch.candidates});
  step.stream.copy(step.outputs.logits(), logits,
                   Bytes(std::uint64_t{rows} * vocabulary * sizeof(float)));
}

}  // namespace

DeviceDecoder::Plan DeviceDecoder::plan(const Model& model, const Options& options) {
  const auto counted = [](auto&& carve) {
    DeviceArena arena;
    carve(arena);
    return arena.taken();
  };
  return {.kv = counted([&](DeviceArena& arena) {
            DeviceKv(model.kv_layers(), options.formats, options.context, kMostDeviceRows, arena);
          }),
          .state = counted(
              [&](DeviceArena& arena) { DeviceRecurrent(model.recurrent_layers(), arena); }),
          .scratch = counted([&](DeviceArena& arena) {
            DeviceScratch(scratch_shape(model), device_needs(model), arena);
          }),
          .inputs = DeviceInputs::bytes_needed(model, device_needs(model), kMostDeviceRows)};
}

DeviceDecoder::DeviceDecoder(DeviceModel& model, const Options& options)
    : model_(model),
      needs_(device_needs(model.model())),
      plan_(plan(model.model(), options)),
      kv_memory_(model.device(), plan_.kv, "keys and values"),
      state_memory_(model.device(), plan_.state, "the state of recurrent layers"),
      scratch_memory_(model.device(), plan_.scratch, "scratch"),
      kv_(model.model().kv_layers(), options.formats, options.context, kMostDeviceRows, kv_memory_),
      recurrent_(model.model().recurrent_layers(), state_memory_),
      scratch_(scratch_shape(model.model()), needs_, scratch_memory_),
      inputs_(model.model(), needs_, kMostDeviceRows, model.device()),
      outputs_(model.model(), kMostDeviceRows, model.device()) {
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
  const kernels::Graph& step = graph({rows, first_logits_row, forced});
  inputs_.write(tokens, position, model_.next_step());
  *outputs_.expert_faults() = 0;
  if (forced) inputs_.write_forced(*forced_routing_, position, rows);
  model_.run(step, rows);
  check_counts();
  give_routing(rows, position, on_routed);
  const std::uint32_t vocabulary = model_.model().config.vocabulary;
  for (std::uint32_t row = first_logits_row; row < rows; ++row) {
    const std::uint32_t nth = row - first_logits_row;
    if (std::isnan(outputs_.best()[nth].logit)) throw_not_finite(position + row);
    sink(row, {outputs_.logits() + std::size_t{nth} * vocabulary, vocabulary});
  }
}

const kernels::Graph& DeviceDecoder::graph(const StepShape& shape) {
  std::unique_ptr<kernels::Graph>& graph = graphs_[shape];
  if (graph == nullptr) {
    model_.stream().begin_capture();
    record(shape);
    graph = model_.stream().end_capture();
  }
  return *graph;
}

void DeviceDecoder::record(const StepShape& shape) const {
  const Model& model = model_.model();
  DeviceStep step{.rows = shape.rows,
                  .forced = shape.forced,
                  .kernels = model_.kernels(),
                  .stream = model_.stream(),
                  .weights = model_.weights(),
                  .catalog = model.experts,
                  .experts = model_.experts(),
                  .lanes = model_.lanes(),
                  .kv = kv_,
                  .recurrent = recurrent_,
                  .scratch = scratch_,
                  .inputs = inputs_,
                  .outputs = outputs_};
  inputs_.upload(step.stream);
  if (shape.forced) inputs_.upload_forced(step.stream);
  record_embedding(model, step);
  for (const Layer& layer : model.layers)
    for (const auto& block : layer.blocks) block->record(step);
  record_logits(model, step, shape.first_logits_row);
}

// Tokens were checked before the step, and the ids of a router are valid whatever its scores are. A
// trace may have an expert twice in a row, which changes no result.
void DeviceDecoder::check_counts() const {
  CHECK_EQ(*outputs_.unknown_tokens(), 0u);
  if (forced_routing_ == nullptr) CHECK_EQ(*outputs_.expert_faults(), 0u);
}

void DeviceDecoder::give_routing(std::uint32_t rows, std::uint32_t position,
                                 RoutingSink on_routed) const {
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

void DeviceDecoder::reset() { recurrent_.reset(model_.stream()); }

}  // namespace hearth::runtime
