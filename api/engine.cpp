// Engines: opened, asked for facts, given more or less memory, closed.
#include <algorithm>

#include "api/handles.h"

hearth_engine::hearth_engine(const hearth::runtime::EngineOptions& options)
    : engine(options),
      io(engine.io_description()),
      instructions(name_of(hearth::kernels::best_instruction_set())),
      recurrent(engine.plan().ram.state > hearth::Bytes(0)) {}

namespace hearth::border {
namespace {

constexpr std::size_t kFirstFacts =
    offsetof(hearth_engine_facts, instructions) + sizeof(hearth_engine_facts::instructions);

void tell_notes(const runtime::Engine& engine, const hearth_engine_options* options) {
  if (options == nullptr || options->on_note == nullptr) return;
  for (const std::string& note : engine.model().notes)
    options->on_note(options->user, note.c_str());
  for (const std::string& note : engine.plan().notes) options->on_note(options->user, note.c_str());
}

hearth_engine_facts facts_of(const hearth_engine& handle) {
  const runtime::Engine& engine = handle.engine;
  const profiler::TierPlan& ram = engine.plan().ram;
  return {.size = sizeof(hearth_engine_facts),
          .vocabulary = engine.config().vocabulary,
          .context = engine.plan().context,
          .batch = engine.plan().batch,
          .threads = engine.threads(),
          .layers = engine.config().layers,
          .experts = engine.plan().experts,
          .experts_per_layer = engine.config().experts,
          .experts_used = engine.config().experts_used,
          .expert_bytes = engine.needs().expert_bytes().count,
          .least_expert_ram = engine.least_expert_ram().count,
          .session_bytes = (ram.kv + ram.state + ram.scratch).count,
          .architecture = engine.config().architecture.c_str(),
          .policy = engine.policy().c_str(),
          .io = handle.io.c_str(),
          .instructions = handle.instructions.c_str()};
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_engine_open(const char* model_path, const hearth_engine_options* options,
                                 hearth_engine** engine) {
  return guarded([&] {
    required(engine, "engine");
    auto opened = std::make_unique<hearth_engine>(engine_options(model_path, options));
    tell_notes(opened->engine, options);
    *engine = opened.release();
  });
}

hearth_status hearth_engine_close(hearth_engine* engine) {
  return guarded([&] {
    if (engine == nullptr) return;
    if (const std::uint32_t open = engine->sessions.load(); open > 0)
      throw Misuse(HEARTH_ERROR_STATE, "{} sessions of this engine are open; close them first",
                   open);
    delete engine;
  });
}

hearth_status hearth_engine_facts_of(const hearth_engine* engine, hearth_engine_facts* facts) {
  return guarded([&] { fill(facts, facts_of(required(engine, "engine")), kFirstFacts, "facts"); });
}

hearth_status hearth_engine_set_expert_ram(hearth_engine* engine, uint64_t bytes) {
  return guarded([&] {
    const Turn turn(required(engine, "engine").turns);
    engine->engine.set_expert_ram(hearth::Bytes(bytes));
  });
}
}
