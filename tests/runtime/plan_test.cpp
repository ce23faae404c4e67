// What the planner says from the header of a file is what the engine then takes, to the byte.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "runtime/plan_input.h"
#include "runtime/session.h"

namespace hearth::testing {
namespace {

using profiler::PlacementPlan;
using runtime::Engine;
using runtime::EngineOptions;

const char* const kModels[] = {
    HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-f16.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-kquants.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-opt.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-types32.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen35moe.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/qwen3next-legacy.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/gpt-oss.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/glm4moe.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/llama4.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/gemma4.gguf",
};

constexpr std::uint64_t kPage = 4096;  // arenas are whole pages

EngineOptions any_options(Random& random) {
  EngineOptions options{.model_path = kModels[random.below(std::size(kModels))],
                        .context = static_cast<std::uint32_t>(1 + random.below(2000)),
                        .batch = static_cast<std::uint32_t>(1 + random.below(600)),
                        .threads = static_cast<std::uint32_t>(1 + random.below(6))};
  switch (random.below(4)) {
    case 0:
      options.budget.ram = Bytes((14 + random.below(40)) << 20);
      break;
    case 1:
      options.budget.expert_ram = Bytes(random.below(30 << 20));
      break;
    default:
      options.budget.expert_share = static_cast<double>(1 + random.below(100)) / 100;
  }
  const auto any_format = [&] {
    return kernels::kKvFormats[random.below(kernels::kKvFormatCount)].format;
  };
  options.key_format = any_format();
  options.value_format = any_format();
  options.kv_tail = static_cast<std::uint32_t>(random.below(300));
  options.io.backend = random.below(2) == 0 ? io::IoBackend::kPread : io::IoBackend::kUring;
  options.io.direct = random.below(2) == 0 ? io::DirectIo::kOff : io::DirectIo::kAuto;
  // The size of this process is that of its other tests.
  options.resident = [] { return Bytes(0); };
  return options;
}

// As hearth plan does it: from the header alone.
PlacementPlan planned(const EngineOptions& options) {
  const io::GgufFile file = io::GgufFile::open(options.model_path, runtime::block_shape_of,
                                               io::GgufFile::Data::kMayBeMissing);
  const auto model = runtime::build_model(file);
  const std::uint64_t alignment = io::AsyncReader::open(file.paths(), options.io)->alignment();
  auto [needs, request] = runtime::plan_input(file, *model, options, alignment, false);
  return plan_placement(needs, request, nullptr, nullptr);
}

// Whether the budget was enough.
bool takes_what_was_planned(const EngineOptions& options) {
  PlacementPlan plan;
  try {
    plan = planned(options);
  } catch (const Error& error) {
    const bool too_long_a_tail = error.code() == ErrorCode::kUsage;
    const runtime::KvFormats kv = runtime::kv_formats_of(options);
    EXPECT_EQ(too_long_a_tail, kv.quantized() && kv.least_context() > options.context);
    EXPECT_TRUE(too_long_a_tail || error.code() == ErrorCode::kBudget) << error.what();
    EXPECT_THROW(Engine{options}, Error);
    return false;
  }
  Engine engine(options);
  const runtime::Session session(engine);
  EXPECT_EQ(engine.dense_memory().size(), round_up(plan.ram.dense.count, kPage));
  EXPECT_EQ(session.memory().size(),
            round_up((plan.ram.kv + plan.ram.state + plan.ram.scratch).count, kPage));
  EXPECT_EQ(engine.experts().memory().size(), round_up(plan.ram.experts.count, kPage));
  EXPECT_EQ(engine.plan().ram.total(), plan.ram.total());
  EXPECT_EQ(engine.plan().batch, plan.batch);
  EXPECT_EQ(session.context(), plan.context);
  const profiler::Residency& residency = engine.experts().residency();
  for (std::size_t c = 0; c < plan.ram.slots_of_class.size(); ++c)
    EXPECT_EQ(residency.slots(static_cast<std::uint8_t>(c)), plan.ram.slots_of_class[c]);
  EXPECT_LE(plan.ram.total(), options.budget.ram.value_or(plan.ram.total()));
  return true;
}

TEST(Plan, IsWhatTheEngineTakes) {
  Random random(20261120);
  int enough = 0;
  for (int i = 0; i < 50; ++i) {
    const EngineOptions options = any_options(random);
    SCOPED_TRACE(fmt::format("{}: {}, context {}, batch {}, threads {}, KV {}/{}", i,
                             options.model_path, options.context, options.batch, options.threads,
                             kernels::traits(options.key_format).name,
                             kernels::traits(options.value_format).name));
    enough += takes_what_was_planned(options);
  }
  EXPECT_GT(enough, 30);
}

// One row for keys and values, and of older files matrices that are made at load.
TEST(Plan, LatentsAreKeptOnce) {
  Random random(7);
  int enough = 0;
  for (int i = 0; i < 8; ++i) {
    EngineOptions options = any_options(random);
    options.model_path = i % 2 == 0 ? HEARTH_SOURCE_DIR "/tests/golden/deepseek2-lite.gguf"
                                    : HEARTH_SOURCE_DIR "/tests/golden/deepseek2-legacy.gguf";
    options.budget = {.expert_share = 1.0};
    options.key_format = options.value_format =
        i % 3 == 0 ? kernels::KvFormat::kF32 : kernels::KvFormat::kBF16;
    enough += takes_what_was_planned(options);
  }
  EXPECT_EQ(enough, 8);
}

// 1024 positions or 65536, in every format: the same scratch in the plan, and a session that takes
// its keys and values and this scratch, also when it decodes at the end of its context.
TEST(Plan, ScratchDoesNotGrowWithTheContext) {
  for (const kernels::KvFormatTraits& format : kernels::kKvFormats) {
    SCOPED_TRACE(format.name);
    EngineOptions options{.model_path = kModels[1],
                          .budget = {.expert_share = 0.5},
                          .batch = 64,
                          .threads = 3,
                          .key_format = format.format,
                          .value_format = format.format};
    std::vector<PlacementPlan> plans;
    for (const std::uint32_t context : {1024u, 65536u}) {
      options.context = context;
      plans.push_back(planned(options));
      const profiler::TierPlan& ram = plans.back().ram;
      Engine engine(options);
      runtime::Session session(engine);
      const auto taken = session.memory();
      EXPECT_EQ(taken.size(), round_up(ram.kv.count + ram.scratch.count, kPage));
      if (!format.quantized()) session.fill_at_random(context - 2, 1);
      const TokenId tokens[] = {1, 2};
      session.evaluate(tokens);
      EXPECT_EQ(session.memory().data(), taken.data());
      EXPECT_EQ(session.memory().size(), taken.size());
    }
    EXPECT_EQ(plans[1].ram.scratch, plans[0].ram.scratch);
    EXPECT_GT(plans[1].ram.kv, plans[0].ram.kv * 16);
  }
}

TEST(Plan, ALargerProcessIsPlannedFor) {
  EngineOptions options{.model_path = kModels[1], .budget = {.expert_share = 1.0}, .threads = 1};
  options.resident = [] { return Bytes(100 << 20); };
  EXPECT_GT(Engine(options).plan().ram.process, Bytes(100 << 20));
}

TEST(Plan, IsFollowedExactly) {
  EngineOptions options{.model_path = kModels[0],
                        .budget = {.expert_share = 0.4},
                        .context = 300,
                        .batch = 40,
                        .threads = 2,
                        .key_format = kernels::KvFormat::kQ5_0,
                        .value_format = kernels::KvFormat::kF32,
                        .kv_tail = 70};
  options.resident = [] { return Bytes(0); };
  const PlacementPlan plan = Engine(options).plan();
  EngineOptions following{.model_path = kModels[0]};
  following.resident = options.resident;
  following.follow(plan, "a plan");
  following.plan->seed = {{.layer = 1, .index = 2}};
  following.plan->seed_uses = {0.5f};
  const Engine engine(following);
  EXPECT_EQ(engine.plan().ram.total(), plan.ram.total());
  EXPECT_EQ(engine.plan().ram.slots_of_class, plan.ram.slots_of_class);
  EXPECT_EQ(engine.plan().batch, 40u);
  EXPECT_EQ(engine.plan().context, 300u);
  EXPECT_EQ(engine.plan().ram.kv, plan.ram.kv);
  EXPECT_EQ(engine.kv_formats().keys, kernels::KvFormat::kQ5_0);
  EXPECT_EQ(engine.kv_formats().values, kernels::KvFormat::kF32);
  EXPECT_EQ(engine.kv_formats().tail, 70u);
  EXPECT_EQ(engine.experts().state({.layer = 1, .index = 2}), profiler::ExpertState::kReady);

  following.plan->key_format = "q3_0";
  EXPECT_THROW(EngineOptions().follow(*following.plan, "a plan"), Error);

  following.model_path = kModels[1];
  EXPECT_THROW(Engine{following}, Error);
}

}  // namespace
}  // namespace hearth::testing
