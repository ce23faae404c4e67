// Engines: opened, asked for facts, given more or less memory, closed.

#include "api/handles.h"
#include "runtime/gpu/device_prefill.h"

hearth_engine::hearth_engine(const hearth::runtime::EngineOptions& options)
    : engine(options),
      io(engine.io_description()),
      instructions(name_of(hearth::kernels::best_instruction_set())),
      recurrent(engine.plan().ram.state > hearth::Bytes(0)) {}

void hearth_engine::check_process() const { hearth::border::check(process, "engine"); }

namespace hearth::border {
namespace {

constexpr std::size_t kFirstFacts =
    offsetof(hearth_engine_facts, instructions) + sizeof(hearth_engine_facts::instructions);

void tell_notes(const runtime::Engine& engine, const hearth_engine_options* options) {
  if (options == nullptr || options->on_note == nullptr) return;
  for (const std::string& note : engine.model().notes)
    options->on_note(options->user, note.c_str());
  for (const std::string& note : engine.plan().notes) options->on_note(options->user, note.c_str());
  if (!engine.why_no_device().empty())
    options->on_note(options->user,
                     fmt::format("the CPU computes; {}", engine.why_no_device()).c_str());
  if (engine.device_model() == nullptr || engine.device_model()->lanes() != nullptr) return;
  if (engine.miss_service() != runtime::MissService::kMeasured)
    options->on_note(options->user, "misses has no effect: all experts are in VRAM");
  if (engine.gpu_cache() == runtime::GpuCache::kHost)
    options->on_note(options->user, "gpu_cache has no effect: all experts are in VRAM");
}

void add_device(const runtime::Engine& engine, hearth_engine_facts& facts) {
  const profiler::TierPlan& vram = *engine.plan().vram;
  const runtime::SessionBytes session = runtime::session_bytes(engine);
  facts.session_bytes = session.pinned.count;
  facts.device = engine.device_name().c_str();
  facts.vram = vram.total().count;
  facts.session_vram = session.device.count;
  facts.expert_vram = engine.needs().device_bytes(vram.slots_of_class).count;
  facts.vram_slots = vram.slots();
  facts.all_in_vram = engine.device_model()->lanes() == nullptr ? 1 : 0;
}

hearth_engine_facts facts_of(const hearth_engine& handle) {
  const runtime::Engine& engine = handle.engine;
  const profiler::TierPlan& ram = engine.plan().ram;
  hearth_engine_facts facts{.size = sizeof(hearth_engine_facts),
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
  if (engine.device_model() != nullptr) add_device(engine, facts);
  return facts;
}

void make_device_current(const hearth_engine& engine) {
  if (const auto* model = engine.engine.device_model()) model->device().make_current();
}

void check_has_slots_to_give(const runtime::Engine& engine) {
  if (engine.device_model() == nullptr)
    throw Misuse(HEARTH_ERROR_USAGE, "the CPU computes, and no experts are on a device");
  if (engine.device_model()->lanes() == nullptr)
    throw Misuse(HEARTH_ERROR_STATE,
                 "{}: all experts are in VRAM for good; open the engine with a vram below {}",
                 engine.device_name(), engine.plan().vram->total().count);
}

}  // namespace

EngineTurn::EngineTurn(hearth_engine& engine, std::atomic<bool>* cancelled)
    : turn_((engine.check_process(), engine.turns), cancelled) {
  make_device_current(engine);
}

}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_engine_open(const char* model_path, const hearth_engine_options* options,
                                 hearth_engine** engine) {
  return guarded([&] {
    required(engine, "engine");
    auto opened = std::make_unique<hearth_engine>(engine_options(model_path, options));
    tell_notes(opened->engine, options);
    opened->engine.set_notice(notice_when_used(options));
    *engine = opened.release();
  });
}

hearth_status hearth_engine_close(hearth_engine* engine) {
  return guarded([&] {
    if (engine == nullptr) return;
    engine->check_process();
    if (const std::uint32_t open = engine->sessions.load(); open > 0)
      throw Misuse(HEARTH_ERROR_STATE, "{} sessions of this engine are open; close them first",
                   open);
    make_device_current(*engine);
    delete engine;
  });
}

hearth_status hearth_engine_facts_of(const hearth_engine* engine, hearth_engine_facts* facts) {
  return guarded([&] { fill(facts, facts_of(required(engine, "engine")), kFirstFacts, "facts"); });
}

hearth_status hearth_engine_set_expert_ram(hearth_engine* engine, uint64_t bytes) {
  return guarded([&] {
    const EngineTurn turn(required(engine, "engine"));
    engine->engine.set_expert_ram(hearth::Bytes(bytes));
  });
}

hearth_status hearth_engine_set_expert_vram(hearth_engine* engine, uint64_t bytes) {
  return guarded([&] {
    const EngineTurn turn(required(engine, "engine"));
    check_has_slots_to_give(engine->engine);
    engine->engine.set_expert_vram(hearth::Bytes(bytes));
  });
}
}
