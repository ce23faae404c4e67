// Experts that a device holds for good, beside a RAM that has only the others: the answer is that
// of the CPU for every budget of both and whatever is given up at run time, RAM keeps no copy of
// them, and where both tiers hold all no step reads from disk.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "kernels/gpu/emulation/device.h"
#include "runtime/gpu/device_plan.h"
#include "runtime/session.h"
#include "runtime/trace_header.h"
#include "tests/gpu/support/made_device.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"
#include "tests/gpu/support/test_device.h"
#include "tests/runtime/support/fake_reader.h"
#include "tests/runtime/support/made_profile.h"

namespace hearth::runtime {
namespace {

using kernels::emulated::EmulatedDevice;
using testing::FakeReader;
using testing::ReadWeather;

constexpr std::uint32_t kTokens = 6;

// An engine with RAM for so many experts of each size.
std::unique_ptr<Engine> engine_of(const Case& of, std::uint32_t ram_slots,
                                  const std::shared_ptr<ReadWeather>& weather) {
  EngineOptions options = engine_options(of);
  const auto roomy = open(of);
  Bytes ram;
  for (const profiler::ExpertClass& one : roomy->needs().classes)
    ram += one.slot * std::min(ram_slots, one.experts);
  options.budget = {.expert_ram = ram};
  options.open_reader = [weather](const std::vector<std::string>& paths, const io::ReaderOptions&) {
    return std::make_unique<FakeReader>(paths, weather);
  };
  return std::make_unique<Engine>(options);
}

// Decisions that no router makes: any experts, token after token.
ForcedRouting random_traffic(const Engine& engine, std::uint64_t seed) {
  const ModelConfig& config = engine.config();
  profiler::TraceHeader header = trace_header_of(
      engine.model(), {.layers = config.layers, .experts_per_layer = config.experts}, "made");
  profiler::RoutingTrace trace(header);
  Random random(seed);
  for (std::uint32_t position = 0; position < kTokens; ++position) {
    trace.begin_step({.position = position, .rows = 1});
    for (const profiler::TraceLayer& layer : header.layers) {
      std::vector<std::uint16_t> experts(layer.experts);
      for (std::uint16_t e = 0; e < layer.experts; ++e) experts[e] = e;
      for (std::uint32_t rank = 0; rank < config.experts_used; ++rank)
        std::swap(experts[rank], experts[rank + random.below(layer.experts - rank)]);
      experts.resize(config.experts_used);
      std::vector<float> weights(experts.size());
      for (float& weight : weights) weight = static_cast<float>(random.uniform());
      trace.add({.layer = layer.layer,
                 .rows = 1,
                 .experts_per_row = config.experts_used,
                 .experts = experts,
                 .weights = weights});
    }
  }
  return {std::move(trace), engine.model(), "made"};
}

profiler::FetchLadder half_over_the_link(const Model& model) {
  profiler::FetchTable table(DeviceLanes::experts_of_step(model, kMostDeviceRows).used + 1, 0);
  for (std::uint32_t n = 0; n < table.size(); ++n) table[n] = (n + 1) / 2;
  return {.rungs = {table}};
}

std::vector<std::uint32_t> slots_up_to(Random& random, std::span<const std::uint32_t> most) {
  std::vector<std::uint32_t> slots;
  for (const std::uint32_t one : most)
    slots.push_back(static_cast<std::uint32_t>(random.below(one + 1)));
  return slots;
}

TEST(HeldExperts, RandomTrafficGivesTheBitsOfTheCpuForEveryBudget) {
  const Case of{.model = "qwen3moe", .pieces = std::vector<std::uint32_t>(kTokens, 1)};
  const auto roomy = open(of);
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Random random(seed);
    const ForcedRouting traffic = random_traffic(*roomy, seed);
    const Outcome expected = run_on_cpu(of, *roomy, &traffic);
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 3;
    const std::uint32_t used = roomy->config().experts_used;
    const auto engine = engine_of(
        of, used + static_cast<std::uint32_t>(random.below(roomy->model().experts.total())),
        weather);
    const std::vector<std::uint32_t> slots =
        slots_up_to(random, DeviceModel::classes(engine->model()).experts);
    kernels::OneDevice device({.lanes = seed % 2 == 0 ? 32u : 64u, .seed = seed});
    DeviceModel model(*engine, device.get(), device.kernels(),
                      {.slots_of_class = slots,
                       .held_of_class = slots_up_to(random, slots),
                       .fetches = half_over_the_link(engine->model())});
    DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
    decoder.force_routing(&traffic);
    const auto tokens = tokens_of(of, engine->config().vocabulary);
    Outcome found;
    for (std::uint32_t position = 0; position < kTokens; ++position) {
      decode(decoder, std::span(tokens).subspan(position, 1), position, found);
      if (position % 2 == 1) model.set_slots(slots_up_to(random, slots));
    }
    expect_same(expected, found, fmt::format("seed {}", seed));
  }
}

// Budgets of a session: of RAM, and of what the device has for experts.
struct Budget {
  double ram = 1;
  double vram = 1;
  std::uint32_t context = kContext;
};

struct Opened {
  std::shared_ptr<ReadWeather> weather = std::make_shared<ReadWeather>();
  EmulatedDevice* device = nullptr;
  std::unique_ptr<Engine> engine;
};

Opened open_on_device(const std::string& model, const Budget& budget, bool profiled = false) {
  Opened opened;
  EngineOptions options{
      .model_path = path_of({.model = model}), .context = budget.context, .threads = 1};
  options.open_reader = [weather = opened.weather](const std::vector<std::string>& paths,
                                                   const io::ReaderOptions&) {
    return std::make_unique<FakeReader>(paths, weather);
  };
  if (profiled)
    options.find_profile = [](const io::GgufFile&, const Model& of) {
      return testing::made_profile(of, 5);
    };
  options.batch = kMostDeviceRows;  // less of a prompt at once would make room
  options = on_device(options, &opened.device);
  const Engine all(options);
  const profiler::TierPlan& vram = *all.plan().vram;
  const auto of_experts = [&](double share) {
    return Bytes(static_cast<std::uint64_t>(share * static_cast<double>(vram.experts.count)));
  };
  Bytes in_ram;
  for (const profiler::ExpertClass& one : all.needs().classes) in_ram += one.slot * one.experts;
  options.budget = {.expert_ram = Bytes(
                        static_cast<std::uint64_t>(budget.ram * static_cast<double>(in_ram.count))),
                    .vram = vram.total() - vram.experts + of_experts(budget.vram)};
  opened.engine = std::make_unique<Engine>(options);
  return opened;
}

std::vector<float> logits_of(Engine& engine, TokenId tokens) {
  std::vector<float> logits;
  Session session(engine);
  for (TokenId i = 0; i < tokens; ++i)
    session.evaluate(std::vector<TokenId>{(i * 37 + 3) % 160}, 0,
                     [&](std::uint32_t, std::span<const float> row) {
                       logits.insert(logits.end(), row.begin(), row.end());
                     });
  return logits;
}

std::uint32_t resident_twice(const Engine& engine) {
  std::uint32_t twice = 0;
  for (const ExpertId id : engine.device_model()->wanted())
    twice += engine.device_model()->holds(id) &&
             engine.experts().state(id) != profiler::ExpertState::kAbsent;
  return twice;
}

TEST(HeldExperts, WhereBothTiersHoldAllNoStepReads) {
  Engine cpu({.model_path = path_of({.model = "qwen3moe"}), .context = kContext, .threads = 1});
  const std::vector<float> expected = logits_of(cpu, 5);
  const Opened opened = open_on_device("qwen3moe", {.ram = 0.7, .vram = 0.8});
  Engine& engine = *opened.engine;
  const profiler::PlacementPlan& plan = engine.plan();
  EXPECT_GT(plan.vram->held(), 0u);
  EXPECT_LT(plan.vram->held(), plan.vram->slots());
  EXPECT_LT(plan.vram->slots(), plan.experts);
  EXPECT_LT(plan.ram.slots(), plan.experts);
  EXPECT_EQ(plan.vram->held() + plan.ram.slots(), plan.experts);
  EXPECT_EQ(resident_twice(engine), 0u);
  const std::uint64_t reads = opened.weather->reads;
  EXPECT_EQ(logits_of(engine, 5), expected);
  EXPECT_EQ(opened.weather->reads, reads);
  for (const kernels::ExpertCounters& layer : engine.device_model()->counters())
    EXPECT_EQ(layer.not_in_ram, 0u);
}

TEST(HeldExperts, EveryBudgetOfBothTiersGivesTheLogitsOfTheCpu) {
  Engine cpu({.model_path = path_of({.model = "qwen3moe"}), .context = kContext, .threads = 1});
  const std::vector<float> expected = logits_of(cpu, 4);
  for (const Budget& budget : {Budget{.ram = 0.1, .vram = 0.2}, Budget{.ram = 0.1, .vram = 0.9},
                               Budget{.ram = 0.9, .vram = 0.2}, Budget{.ram = 0.5, .vram = 0.6}}) {
    const Opened opened = open_on_device("qwen3moe", budget);
    EXPECT_EQ(logits_of(*opened.engine, 4), expected) << budget.ram << ", " << budget.vram;
    EXPECT_EQ(resident_twice(*opened.engine), 0u);
  }
}

// What fits beside the first positions alone follows traffic, all experts here: RAM has room for
// what goes when the context fills.
TEST(HeldExperts, StayWhereTheyAreWhileKeysAndValuesGrow) {
  const Opened opened = open_on_device("qwen3moe", {.ram = 0.7, .vram = 0.8, .context = 8192});
  Engine& engine = *opened.engine;
  const profiler::PlacementPlan& plan = engine.plan();
  EXPECT_EQ(plan.vram->positions, 2048u);
  EXPECT_EQ(plan.vram->slots(), plan.experts);
  EXPECT_EQ(plan.vram->held() + plan.ram.slots(), plan.experts);
  const std::vector<ExpertId> held = held_experts(engine.model(), plan);
  Session session(engine);
  session.fill_at_random(2046, 3);
  Engine cpu({.model_path = path_of({.model = "qwen3moe"}), .context = 8192, .threads = 1});
  Session of_cpu(cpu);
  of_cpu.fill_at_random(2046, 3);
  const std::uint64_t reads = opened.weather->reads;
  const Bytes experts = engine.device_model()->experts().memory();
  for (const TokenId token : {1, 2, 3, 4}) {
    const auto expected = of_cpu.evaluate({&token, 1}), found = session.evaluate({&token, 1});
    EXPECT_TRUE(std::ranges::equal(expected, found));
  }
  session.fill_at_random(8192, 4);
  EXPECT_LT(engine.device_model()->experts().memory(), experts);
  for (const ExpertId id : held) EXPECT_TRUE(engine.device_model()->holds(id));
  EXPECT_EQ(opened.weather->reads, reads);
}

// All experts were to be on the device, and hardly any in RAM.
TEST(HeldExperts, RamHasTheOthersWhereTheDeviceIsSmallerThanItSaid) {
  EngineOptions options{.model_path = path_of({.model = "qwen3moe"}), .context = kContext};
  options.threads = 1;
  options.batch = kMostDeviceRows;
  Engine cpu(options);
  const profiler::TierPlan all = *Engine(on_device(options)).plan().vram;
  const Bytes missing(all.experts.count / 3);
  const auto weather = std::make_shared<ReadWeather>();
  options.open_reader = [weather](const std::vector<std::string>& paths, const io::ReaderOptions&) {
    return std::make_unique<FakeReader>(paths, weather);
  };
  Engine engine(
      on_device(options, nullptr, {.memory = 2 * all.total(), .unusable = all.total() + missing}));
  const profiler::PlacementPlan& plan = engine.plan();
  EXPECT_LT(plan.vram->slots(), plan.experts);
  EXPECT_EQ(plan.vram->held() + plan.ram.slots(), plan.experts);
  EXPECT_EQ(resident_twice(engine), 0u);
  const std::uint64_t reads = weather->reads;
  EXPECT_EQ(logits_of(engine, 5), logits_of(cpu, 5));
  EXPECT_EQ(weather->reads, reads);
}

TEST(HeldExperts, RamKeepsNoneOfThem) {
  const Opened opened = open_on_device("qwen3moe", {.ram = 0.5, .vram = 0.5});
  Engine& engine = *opened.engine;
  EXPECT_GT(engine.plan().vram->held(), 0u);
  EXPECT_EQ(resident_twice(engine), 0u);
  logits_of(engine, 6);
  EXPECT_EQ(resident_twice(engine), 0u);
  const std::vector<ExpertId> all(engine.device_model()->wanted().begin(),
                                  engine.device_model()->wanted().end());
  engine.replace_experts(all);
  EXPECT_EQ(resident_twice(engine), 0u);
}

TEST(HeldExperts, AreTheMostWantedOfAProfile) {
  const Opened opened = open_on_device("qwen3moe", {.ram = 0.5, .vram = 0.6}, true);
  Engine& engine = *opened.engine;
  const std::vector<float> uses = engine.profile()->popularity();
  const SizeClasses classes = DeviceModel::classes(engine.model());
  std::vector<float> least_held(classes.experts.size(), 1e9f), most_other(classes.experts.size());
  std::uint32_t held = 0;
  for (const ExpertId id : engine.device_model()->wanted()) {
    const std::uint8_t c = classes.class_of_layer[id.layer];
    const float one = uses[engine.needs().space().flat(id)];
    if (engine.device_model()->holds(id)) {
      ++held;
      least_held[c] = std::min(least_held[c], one);
    } else {
      most_other[c] = std::max(most_other[c], one);
    }
  }
  EXPECT_GT(held, 0u);
  EXPECT_EQ(held, engine.plan().vram->held());
  for (std::size_t c = 0; c < least_held.size(); ++c) EXPECT_GE(least_held[c], most_other[c]);
}

// With all experts in VRAM the host has what its steps compute with, and no more.
TEST(HeldExperts, MemoryOfBothTiersIsThatOfThePlan) {
  Engine cpu({.model_path = path_of({.model = "qwen3moe"}), .context = kContext, .threads = 1});
  for (const Budget& budget : {Budget{}, Budget{.ram = 0.4, .vram = 0.6}, Budget{.vram = 0.3}}) {
    const Opened opened = open_on_device("qwen3moe", budget);
    Engine& engine = *opened.engine;
    const profiler::PlacementPlan& plan = engine.plan();
    const Session session(engine);
    EXPECT_EQ(opened.device->peak(), plan.vram->total());
    EXPECT_EQ(engine.expert_ram(), plan.ram.experts);
    EXPECT_GE(engine.experts().memory().size(), plan.ram.experts.count);
    EXPECT_LT(plan.ram.dense, cpu.plan().ram.dense);
    EXPECT_GE(engine.dense_memory().size(), plan.ram.dense.count);
    EXPECT_EQ(engine.model().token_embedding->data, nullptr);
    if (plan.vram->slots() == plan.experts) {
      EXPECT_EQ(plan.ram.slots(), engine.config().experts_used * engine.needs().classes.size());
    }
  }
}

// What a step misses in both tiers is read all at once and to where the link and the CPU take it
// from: no page of it is anywhere else in RAM, but where the reader is not direct.
TEST(HeldExperts, MissesOfALayerAreReadAtOnceIntoTheirSlots) {
  const Opened opened = open_on_device("qwen3moe", {.ram = 0.3, .vram = 0.3});
  Engine& engine = *opened.engine;
  std::size_t most_at_once = 0;
  opened.weather->fault = [&](std::uint64_t, const io::ReadRequest& read) {
    const std::span<const std::byte> slots = engine.experts().memory();
    EXPECT_TRUE(read.destination.data() >= slots.data() &&
                read.destination.data() + read.destination.size() <= slots.data() + slots.size());
    most_at_once = std::max(most_at_once, engine.reader().outstanding() + 1);
    return 0;
  };
  logits_of(engine, 6);
  EXPECT_GE(most_at_once, 2 * kernels::kExpertParts);
}

}  // namespace
}  // namespace hearth::runtime
