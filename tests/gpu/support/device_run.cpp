#include "tests/gpu/support/device_run.h"

#include <algorithm>

namespace hearth::runtime {

using testing::ReadWeather;

std::vector<std::uint32_t> share_of_slots(const Model& model, double of_all) {
  std::vector<std::uint32_t> slots;
  for (const std::uint32_t experts : DeviceModel::classes(model).experts)
    slots.push_back(static_cast<std::uint32_t>(of_all * experts));
  return slots;
}

profiler::FetchLadder fetches(const Model& model, Misses misses) {
  profiler::FetchTable table(DeviceLanes::experts_of_step(model, kMostDeviceRows).used + 1, 0);
  for (std::uint32_t n = 0; n < table.size(); ++n) {
    if (misses == Misses::kOverTheLink) table[n] = n;
    if (misses == Misses::kToBoth) table[n] = (n + 1) / 2;
  }
  return {.rungs = {table}};
}

std::unique_ptr<Engine> open(const Case& c, std::uint32_t ram_slots,
                             const std::shared_ptr<ReadWeather>& weather) {
  EngineOptions options = engine_options(c);
  const auto roomy = open(c);
  Bytes ram;
  for (const profiler::ExpertClass& one : roomy->needs().classes)
    ram += one.slot * std::min(ram_slots, one.experts);
  options.budget = {.expert_ram = ram};
  options.open_reader = testing::readers_in(weather);
  return std::make_unique<Engine>(options);
}

DeviceRun::DeviceRun(Engine& engine, const DeviceModel::Options& options,
                     const kernels::emulated::DeviceOptions& of_device, kernels::DeviceKind kind)
    : device(of_device, kind),
      model(engine, device.get(), device.kernels(), options),
      decoder(model,
              {.context = kContext, .formats = engine.kv_formats(), .batch = options.batch}) {}

void evaluate(DevicePrefill& prefill, std::span<const TokenId> tokens, std::uint32_t position,
              Outcome& outcome) {
  prefill.run(
      tokens, position, 0,
      [&](std::uint32_t, std::span<const float> logits) { outcome.add(logits); },
      [&](const profiler::Routing& routing) { outcome.add(routing); });
}

Outcome run_in_chunks(const Case& c, DeviceDecoder& decoder, DevicePrefill& prefill) {
  Outcome outcome;
  const auto tokens = tokens_of(c, decoder.model().model().config.vocabulary);
  std::uint32_t position = 0;
  for (const std::uint32_t count : c.pieces) {
    const std::span piece = std::span(tokens).subspan(position, count);
    if (count <= kMostDeviceRows)
      decode(decoder, piece, position, outcome);
    else
      evaluate(prefill, piece, position, outcome);
    position += count;
  }
  return outcome;
}

}  // namespace hearth::runtime
