#include "runtime/model_needs.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "runtime/experts/expert_store.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/kv_cache.h"
#include "runtime/model_identity.h"
#include "runtime/process_memory.h"
#include "runtime/recurrent_state.h"

namespace hearth::runtime {
namespace {

using profiler::FormatBytes;

// A prefill step of fewer tokens hardly saves memory, and reads experts for each of a few.
constexpr std::uint32_t kSmallestBatch = 32;

void add(std::vector<FormatBytes>& formats, kernels::WeightFormat format, Bytes bytes) {
  const std::string_view name = kernels::traits(format).name;
  for (FormatBytes& one : formats)
    if (one.format == name) {
      one.bytes += bytes;
      return;
    }
  formats.push_back({std::string(name), bytes});
}

// 12 for "blk.12.attn_q.weight".
std::optional<std::uint32_t> layer_of(std::string_view tensor) {
  constexpr std::string_view kPrefix = "blk.";
  if (!tensor.starts_with(kPrefix)) return std::nullopt;
  std::uint32_t layer = 0;
  const auto [end, error] =
      std::from_chars(tensor.data() + kPrefix.size(), tensor.data() + tensor.size(), layer);
  if (error != std::errc()) return std::nullopt;
  return layer;
}

void add_dense_traffic(const Model& model, profiler::ModelNeeds& needs) {
  std::uint32_t first_moe = 0;
  while (first_moe < model.experts.layers() &&
         model.experts.layer(static_cast<LayerIndex>(first_moe)).count == 0)
    ++first_moe;
  model.weights.for_each([&](const io::GgufTensor& tensor, const kernels::WeightMatrix& matrix) {
    // Of an embedding that is not also the output matrix, only one row is read.
    const bool row_only = &matrix == model.token_embedding && &matrix != model.output;
    const Bytes bytes(row_only ? matrix.row_bytes() : matrix.bytes());
    add(needs.dense_read, matrix.format, bytes);
    if (layer_of(tensor.name).value_or(0) <= first_moe)
      add(needs.serial_read, matrix.format, bytes);
  });
}

void add_experts(const Model& model, std::uint64_t alignment, profiler::ModelNeeds& needs) {
  const SizeClasses classes = size_classes(model.experts, alignment);
  needs.class_of_layer = classes.class_of_layer;
  const ExpertSlots on_device = expert_slots(model.experts, classes);
  for (std::size_t c = 0; c < classes.slot_bytes.size(); ++c)
    needs.classes.push_back({.slot = Bytes(classes.slot_bytes[c]),
                             .device_slot = Bytes(on_device.slot_bytes[c]),
                             .experts = classes.experts[c]});
  for (std::uint32_t l = 0; l < model.experts.layers(); ++l) {
    const LayerExperts& layer = model.experts.layer(static_cast<LayerIndex>(l));
    needs.experts_of_layer.push_back(layer.count);
    if (layer.count == 0) continue;
    needs.moe_layers += 1;
    needs.classes[classes.class_of_layer[l]].expert = Bytes(layer.bytes());
    for (const ExpertSlab& slab : layer.slabs) {
      needs.expert_weights += std::uint64_t{slab.rows} * slab.columns * layer.count;
      add(needs.expert_read, slab.format, Bytes(slab.bytes) * model.config.experts_used);
    }
  }
}

}  // namespace

ScratchShape scratch_shape_for(const Model& model, std::uint32_t batch, std::uint32_t threads) {
  ScratchShape shape = model.scratch_shape();
  shape.rows = batch;
  shape.threads = threads;
  // Logits of several rows at once share the reading of the output matrix; 16 MiB of them do.
  constexpr std::uint64_t kLogitBytes = 16 << 20;
  shape.logit_rows = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      kLogitBytes / (shape.vocabulary * sizeof(float)), 1, std::min(batch, 32u)));
  return shape;
}

profiler::ModelNeeds model_needs(const io::GgufFile& file, const Model& model,
                                 const NeedsInput& input) {
  const ModelConfig& config = model.config;
  profiler::ModelNeeds needs;
  needs.model = identity_of_header(file);
  needs.context_train = config.context_train;

  needs.process = process_bytes(file, model.experts.total(), input.threads);
  needs.dense = model.weights.arena_bytes(input.alignment);
  needs.kv = KvCache::needs(model.kv_layers(), input.kv, file.name());
  needs.state = RecurrentState::bytes_needed(model.recurrent_layers());
  for (std::uint32_t batch = input.batch;; batch = std::max(batch / 2, kSmallestBatch)) {
    needs.scratch.push_back(
        {batch, Scratch::bytes_needed(scratch_shape_for(model, batch, input.threads))});
    if (batch <= kSmallestBatch) break;
  }
  add_experts(model, input.alignment, needs);
  add_dense_traffic(model, needs);
  return needs;
}

}  // namespace hearth::runtime
