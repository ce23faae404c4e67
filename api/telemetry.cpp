// What the engine counted.
#include <numeric>

#include "api/handles.h"
#include "runtime/gpu/device_model.h"

namespace hearth::border {
namespace {

constexpr std::size_t kFirstTelemetry =
    offsetof(hearth_telemetry, resident) + sizeof(hearth_telemetry::resident);

hearth_telemetry telemetry_of(const profiler::ResidencyCounters& counters) {
  hearth_telemetry told{};
  told.size = sizeof told;
  told.ram_hits = counters.hits;
  told.disk_hits = counters.misses;
  told.evictions = counters.evictions;
  told.prefetches = counters.prefetches;
  told.prefetches_used = counters.prefetches_used;
  return told;
}

void add(const kernels::ExpertCounters& counters, hearth_telemetry& told) {
  told.vram_hits += counters.hits;
  told.vram_fetches += counters.fetched;
  told.cpu_experts += counters.on_host;
  told.vram_evictions += counters.evictions;
  told.vram_prefetches += counters.prefetched;
  told.vram_prefetches_used += counters.prefetches_used;
}

void add_device(const runtime::Engine& engine, hearth_telemetry& told) {
  const std::vector<std::uint32_t> slots = engine.expert_vram_slots();
  const runtime::DeviceWork work = engine.device_model()->work();
  add(work.experts, told);
  told.link_bytes = work.link_bytes().count;
  told.vram_peak = engine.device_model()->device().peak().count;
  told.expert_vram = engine.needs().device_bytes(slots).count;
  told.vram_slots = std::accumulate(slots.begin(), slots.end(), 0u);
}

hearth_telemetry telemetry_of(const runtime::Engine& engine) {
  const runtime::ExpertStore& experts = engine.experts();
  hearth_telemetry told = telemetry_of(experts.residency().counters());
  told.disk_bytes = engine.bytes_read().count;
  told.expert_bytes = experts.expert_bytes_read().count;
  told.disk_stall_ns = static_cast<std::uint64_t>(experts.time_waited().count());
  told.expert_ram = engine.expert_ram().count;
  told.expert_slots = engine.expert_slots();
  for (std::uint32_t layer = 0; layer < engine.config().layers; ++layer)
    told.resident += experts.residency().resident(static_cast<LayerIndex>(layer));
  if (engine.device_model() != nullptr) add_device(engine, told);
  return told;
}

hearth_telemetry telemetry_of(const runtime::Engine& engine, std::uint32_t layer) {
  if (layer >= engine.config().layers)
    throw Misuse(HEARTH_ERROR_USAGE, "layer {} is none of the model's {}", layer,
                 engine.config().layers);
  const auto index = static_cast<LayerIndex>(layer);
  const profiler::Residency& residency = engine.experts().residency();
  hearth_telemetry told = telemetry_of(residency.counters(index));
  told.resident = residency.resident(index);
  if (engine.device_model() != nullptr) add(engine.device_model()->counters()[layer], told);
  return told;
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_engine_telemetry(hearth_engine* engine, hearth_telemetry* telemetry) {
  return guarded([&] {
    const EngineTurn turn(required(engine, "engine"));
    fill(telemetry, telemetry_of(engine->engine), kFirstTelemetry, "telemetry");
  });
}

hearth_status hearth_engine_layer_telemetry(hearth_engine* engine, uint32_t layer,
                                            hearth_telemetry* telemetry) {
  return guarded([&] {
    const EngineTurn turn(required(engine, "engine"));
    fill(telemetry, telemetry_of(engine->engine, layer), kFirstTelemetry, "telemetry");
  });
}
}
