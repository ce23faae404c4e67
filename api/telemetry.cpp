// What the engine counted.
#include "api/handles.h"

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
  return told;
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_engine_telemetry(hearth_engine* engine, hearth_telemetry* telemetry) {
  return guarded([&] {
    const Turn turn(required(engine, "engine").turns);
    fill(telemetry, telemetry_of(engine->engine), kFirstTelemetry, "telemetry");
  });
}

hearth_status hearth_engine_layer_telemetry(hearth_engine* engine, uint32_t layer,
                                            hearth_telemetry* telemetry) {
  return guarded([&] {
    const Turn turn(required(engine, "engine").turns);
    fill(telemetry, telemetry_of(engine->engine, layer), kFirstTelemetry, "telemetry");
  });
}
}
