#include "runtime/gpu/device_inputs.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/gpu/mapped.h"

namespace hearth::runtime {
DeviceInputs::Places::Places(const Model& model, const DeviceNeeds& needs, std::uint32_t batch) {
  end = 0;
  const auto take_bytes = [&](std::uint64_t bytes) {
    constexpr std::uint64_t kPieceAlignment = 64;
    const std::uint64_t begin = end;
    end += round_up(bytes, kPieceAlignment);
    return begin;
  };
  const auto take = [&](std::uint64_t words) { return take_bytes(words * sizeof(std::uint32_t)); };
  const std::uint64_t angles = rotary_dims(model.rotary) / 2;
  position = take(1);
  number = take(1);
  tokens = take(batch);
  cosine = take(batch * angles);
  sine = take(batch * angles);
  factors = take(batch * needs.stretches.size());
  forced = end;
  for (std::uint32_t l = 0; l < model.experts.layers(); ++l) {
    const bool routed = model.experts.layer(static_cast<LayerIndex>(l)).count > 0;
    const std::uint64_t pairs = routed ? std::uint64_t{batch} * model.config.experts_used : 0;
    forced_ids.push_back(take_bytes(pairs * sizeof(std::uint16_t)));
    forced_weights.push_back(take(pairs));
  }
}

Bytes DeviceInputs::bytes_needed(const Model& model, const DeviceNeeds& needs,
                                 std::uint32_t batch) {
  DeviceArena counted;
  counted.take(Bytes(Places(model, needs, batch).end));
  return counted.taken();
}

DeviceInputs::DeviceInputs(const Model& model, const DeviceNeeds& needs, std::uint32_t batch,
                           kernels::Device& device)
    : model_(model),
      stretches_(needs.stretches),
      batch_(batch),
      rotary_stride_(rotary_dims(model.rotary) / 2),
      places_(model, needs, batch),
      host_(mapped_memory(device, bytes_needed(model, needs, batch), "the inputs of a step")),
      memory_(device, bytes_needed(model, needs, batch), "the inputs of a step"),
      device_(memory_.take(Bytes(places_.end))) {}

void DeviceInputs::write(std::span<const TokenId> tokens, std::uint32_t position,
                         std::uint32_t number) {
  const auto rows = static_cast<std::uint32_t>(tokens.size());
  CHECK_LE(rows, batch_);
  *on_host<std::uint32_t>(places_.position) = position;
  *on_host<std::uint32_t>(places_.number) = number;
  std::ranges::copy(tokens, on_host<TokenId>(places_.tokens));
  fill_rotary(model_.rotary, {.position = position,
                              .rows = rows,
                              .cosine = on_host<float>(places_.cosine),
                              .sine = on_host<float>(places_.sine)});
  float* factors = on_host<float>(places_.factors);
  for (const QueryStretch& stretch : stretches_) {
    for (std::uint32_t row = 0; row < rows; ++row) factors[row] = stretch.factor(position + row);
    factors += batch_;
  }
}

void DeviceInputs::upload(kernels::Stream& stream) const {
  stream.copy(device_, host_.data(), Bytes(places_.forced));
}

void DeviceInputs::write_forced(const ForcedRouting& routing, std::uint32_t position,
                                std::uint32_t rows) {
  const std::size_t pairs = std::size_t{rows} * model_.config.experts_used;
  for (std::uint32_t l = 0; l < model_.experts.layers(); ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    if (model_.experts.layer(layer).count == 0) continue;
    routing.replace(layer, position, {on_host<std::uint16_t>(places_.forced_ids[l]), pairs},
                    {on_host<float>(places_.forced_weights[l]), pairs});
  }
}

void DeviceInputs::upload_forced(kernels::Stream& stream) const {
  stream.copy(device_ + places_.forced, host_.data() + places_.forced,
              Bytes(places_.end - places_.forced));
}

kernels::ForcedRoutes DeviceInputs::forced(LayerIndex layer) const {
  return {.ids = on_device<std::uint16_t>(places_.forced_ids[layer]),
          .weights = on_device<float>(places_.forced_weights[layer]),
          .entries = batch_};
}

const float* DeviceInputs::factors(const QueryStretch& stretch) const {
  const auto found = std::ranges::find(stretches_, stretch);
  CHECK(found != stretches_.end());
  return on_device<float>(places_.factors) + (found - stretches_.begin()) * batch_;
}

}  // namespace hearth::runtime
