#include "runtime/gpu/device_outputs.h"

#include "runtime/gpu/mapped.h"

namespace hearth::runtime {

DeviceOutputs::Places::Places(const Model& model, std::uint32_t batch) {
  const auto take = [&](std::uint64_t bytes) {
    constexpr std::uint64_t kPieceAlignment = 64;
    const std::uint64_t begin = end;
    end += round_up(bytes, kPieceAlignment);
    return begin;
  };
  constexpr std::uint64_t kCounts = 3;
  counts = take(kCounts * sizeof(std::uint32_t));
  best = take(kMostLogitRows * sizeof(kernels::Candidate));
  const std::uint64_t pairs = std::uint64_t{batch} * model.config.experts_used;
  for (std::uint32_t layer = 0; layer < model.config.layers; ++layer) {
    const bool routed = layer < model.experts.layers() &&
                        model.experts.layer(static_cast<LayerIndex>(layer)).count > 0;
    choices.push_back(take(routed ? pairs * sizeof(std::uint16_t) : 0));
    weights.push_back(take(routed ? pairs * sizeof(float) : 0));
  }
  logits = take(std::uint64_t{kMostLogitRows} * model.config.vocabulary * sizeof(float));
}

Bytes DeviceOutputs::bytes_needed(const Model& model, std::uint32_t batch) {
  return Bytes(Places(model, batch).end);
}

DeviceOutputs::DeviceOutputs(const Model& model, std::uint32_t batch, kernels::Device& device)
    : places_(model, batch),
      memory_(mapped_memory(device, Bytes(places_.end), "the results of a step")) {}

}  // namespace hearth::runtime
