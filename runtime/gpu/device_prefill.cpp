#include "runtime/gpu/device_prefill.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {

using kernels::Activations;

namespace {

Activations slice(const Activations& x, std::uint32_t first, std::uint32_t rows) {
  const std::uint64_t at = std::uint64_t{first} * x.stride;
  return {rows,         x.columns,          x.stride,        x.values + at,
          x.codes + at, x.scales + at / 32, x.sums + at / 16};
}

}  // namespace

DevicePrefill::Plan DevicePrefill::plan(const Model& model, std::uint32_t batch) {
  const Bytes inputs = DeviceInputs::bytes_needed(model, device_needs(model), batch);
  return {.inputs = inputs, .pinned = inputs};
}

// A chunk copies every expert that has no slot, once; steps of a few rows those that their rows
// chose, again and again. Were all experts equally likely, a step would choose a share of them that
// is known, and as many tokens as this have chosen as many experts in steps as there are. Routing
// is less even than that, so that steps choose fewer; but then more of these have slots.
std::uint32_t DevicePrefill::shortest(const ModelConfig& config, bool streams) {
  if (!streams || config.experts == 0) return kMostDeviceRows + 1;
  const double others = 1 - static_cast<double>(config.experts_used) / config.experts;
  const double of_step = 1 - std::pow(others, kMostDeviceRows);
  return std::max(static_cast<std::uint32_t>(std::ceil(kMostDeviceRows / of_step)),
                  kMostDeviceRows + 1);
}

SessionBytes session_bytes(const Engine& engine) {
  const DeviceDecoder::Plan steps =
      DeviceDecoder::plan(engine.model(), DeviceDecoder::options(engine));
  SessionBytes bytes{.device = steps.total(), .pinned = steps.pinned};
  if (engine.plan().batch <= kMostDeviceRows) return bytes;
  const DevicePrefill::Plan prefill = DevicePrefill::plan(engine.model(), engine.plan().batch);
  bytes.device += prefill.inputs;
  bytes.pinned += prefill.pinned;
  return bytes;
}

DevicePrefill::DevicePrefill(DeviceDecoder& decoder, std::uint32_t batch)
    : decoder_(decoder),
      batch_(batch),
      inputs_(decoder.model().model(), decoder.needs(), batch, decoder.model().device()) {}

void DevicePrefill::run(std::span<const TokenId> tokens, std::uint32_t position,
                        std::uint32_t first_logits_row, LogitsSink sink,
                        DeviceDecoder::RoutingSink on_routed) {
  const auto rows = static_cast<std::uint32_t>(tokens.size());
  CHECK(rows > 0 && rows <= batch_);
  CHECK_LE(position + rows, decoder_.context());
  CHECK_LE(first_logits_row, rows);
  const Model& model = decoder_.model().model();
  const ForcedRouting* const forced = decoder_.forced_routing();
  decoder_.provide(position + rows, position);
  inputs_.write(tokens, position, 0);
  if (forced != nullptr) inputs_.write_forced(*forced, position, rows);
  decoder_.begin_outputs();
  try {
    DeviceStep step = decoder_.new_step(rows, inputs_, decoder_.model().begin_chunk());
    CHECK(step.chunk != nullptr);
    inputs_.upload(step.stream);
    if (forced != nullptr) inputs_.upload_forced(step.stream);
    decoder_.record_layers(step);
    Activations last;
    if (first_logits_row < rows)
      last = step.leave(model.config.rms_epsilon, model.output_norm, first_logits_row, {});
    const auto record_logits = [&](std::uint32_t first) {
      const std::uint32_t count = std::min(rows - first, DeviceOutputs::kMostLogitRows);
      if (count > 0) decoder_.record_logits(step, slice(last, first - first_logits_row, count));
      return count;
    };
    std::uint32_t count = record_logits(first_logits_row);
    step.stream.synchronize();  // all of the link's work is before it
    decoder_.give_routing(rows, position, on_routed);
    for (std::uint32_t first = first_logits_row; count > 0;) {
      decoder_.give_logits(first, count, position, sink);
      first += count;
      count = record_logits(first);
      if (count > 0) step.stream.synchronize();
    }
    decoder_.model().end_chunk();
  } catch (...) {
    finish();
    throw;
  }
}

// After an error: what was enqueued reads memory that others get, or the device is lost and nothing
// of it runs.
void DevicePrefill::finish() const {
  try {
    decoder_.model().device().synchronize();
  } catch (const Error&) {
  }
}

}  // namespace hearth::runtime
