// Engine and replay agree exactly on hits, misses and evictions: what a replay says of a policy is
// what the engine does.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "profiler/replay.h"
#include "runtime/session.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using profiler::ExpertProfile;
using profiler::RoutingTrace;
using runtime::Engine;
using runtime::EngineOptions;

EngineOptions options_of(const profiler::MemoryBudget& budget, std::string_view policy) {
  return {.model_path = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf",
          .budget = budget,
          .context = 256,
          .threads = 1,
          .policy = std::string(policy),
          .prefetch = false,
          .io = {.direct = io::DirectIo::kOff}};
}

// The first has slots for the experts of one token in each size class and no more.
std::vector<profiler::MemoryBudget> five_budgets() {
  const Engine engine(options_of({.expert_share = 0.2}, "lru"));
  Bytes least;
  for (const profiler::ExpertClass& one : engine.needs().classes) least += one.slot;
  return {{.expert_ram = least * engine.config().experts_used},
          {.expert_share = 0.2},
          {.expert_share = 0.35},
          {.expert_share = 0.6},
          {.expert_share = 0.9}};
}

RoutingTrace empty_trace(const Engine& engine) {
  const runtime::ModelConfig& config = engine.config();
  const runtime::ExpertCatalog& catalog = engine.model().experts;
  profiler::TraceHeader header{.experts_per_row = config.experts_used};
  header.model = {.layers = config.layers,
                  .experts_per_layer = catalog.space().experts_per_layer,
                  .experts_used = config.experts_used};
  for (LayerIndex layer = 0; layer < config.layers; ++layer)
    if (catalog.layer(layer).count > 0)
      header.layers.push_back({layer, catalog.layer(layer).count});
  return RoutingTrace(std::move(header));
}

// Two texts, of each a prompt in two chunks and then single tokens.
RoutingTrace trace_of_run(Engine& engine) {
  RoutingTrace trace = empty_trace(engine);
  runtime::Session session(engine);
  session.on_routed([&](const profiler::Routing& routing) {
    if (routing.layer == trace.header().layers.front().layer)
      trace.begin_step({.position = routing.position, .rows = routing.rows});
    trace.add(routing);
  });
  for (const std::string text : {"prose.txt", "code.txt"}) {
    const std::vector<TokenId> tokens = engine.tokenizer().encode(
        read_text(HEARTH_SOURCE_DIR "/models/eval/" + text).substr(0, 1024), {});
    session.reset();
    std::vector<std::size_t> pieces(18, 1);
    pieces[0] = 64, pieces[1] = 17;
    for (const std::size_t piece : pieces)
      session.evaluate(std::span(tokens).subspan(session.position(), piece));
  }
  return trace;
}

profiler::ReplayMemory memory_of(const Engine& engine) {
  profiler::ReplayMemory memory{.size_class_of = engine.needs().size_class_of(),
                                .slots_of_class = engine.plan().ram.slots_of_class};
  for (const profiler::ExpertClass& one : engine.needs().classes)
    memory.expert_bytes_of_class.push_back(one.expert);
  return memory;
}

void expect_equal(const profiler::ResidencyCounters& engine,
                  const profiler::ResidencyCounters& replay) {
  EXPECT_EQ(engine.hits, replay.hits);
  EXPECT_EQ(engine.misses, replay.misses);
  EXPECT_EQ(engine.evictions, replay.evictions);
}

// Runs the engine, and what was recorded of it in the replay.
void expect_agreement(Engine& engine) {
  const Bytes seeded = engine.experts().expert_bytes_read();
  const RoutingTrace trace = trace_of_run(engine);
  std::vector<float> popularity;
  if (engine.profile() != nullptr) popularity = engine.profile()->popularity();
  const profiler::ReplayResult result = replay(
      trace, memory_of(engine),
      {.policy = engine.plan().policy, .popularity = popularity, .seed = engine.plan().seed});
  const profiler::Residency& residency = engine.experts().residency();
  expect_equal(residency.counters(), result.total);
  for (LayerIndex layer = 0; layer < engine.config().layers; ++layer) {
    SCOPED_TRACE(fmt::format("layer {}", layer));
    expect_equal(residency.counters(layer), result.layers[layer]);
  }
  EXPECT_EQ(engine.experts().expert_bytes_read() - seeded, result.missed);
  EXPECT_GT(result.total.misses, 0u);
  EXPECT_GT(result.total.evictions, 0u);
}

TEST(ReplayAgreement, HoldsForEveryPolicyAtFiveBudgets) {
  const auto budgets = five_budgets();
  for (const std::string_view policy : profiler::policy_names()) {
    for (std::size_t budget = 0; budget < budgets.size(); ++budget) {
      SCOPED_TRACE(fmt::format("{}, budget {}", policy, budget));
      Engine engine(options_of(budgets[budget], policy));
      expect_agreement(engine);
    }
  }
}

// What was recorded of another run seeds the memory and tells the policy of popularity.
TEST(ReplayAgreement, HoldsForEveryPolicyWithASeed) {
  const auto budgets = five_budgets();
  Engine recorded(options_of(budgets[3], "lru"));
  runtime::Session session(recorded);
  profiler::ProfileRecorder recorder(
      profiler::empty_profile(
          empty_trace(recorded).header().model,
          std::vector<std::uint32_t>(recorded.config().layers, recorded.config().experts)),
      "json");
  session.on_routed([&](const profiler::Routing& routing) { recorder.observe(routing); });
  session.evaluate(recorded.tokenizer().encode(
      read_text(HEARTH_SOURCE_DIR "/models/eval/json.txt").substr(0, 400), {}));
  const auto profile = std::make_shared<const ExpertProfile>(recorder.profile());

  for (const std::string_view policy : profiler::policy_names()) {
    for (const std::size_t budget : {0, 3}) {
      SCOPED_TRACE(fmt::format("{}, budget {}", policy, budget));
      EngineOptions options = options_of(budgets[budget], policy);
      options.find_profile = [&](const auto&, const auto&) { return profile; };
      Engine engine(options);
      EXPECT_GT(engine.seed().size(), 0u);
      expect_agreement(engine);
    }
  }
}

}  // namespace
}  // namespace hearth::testing
