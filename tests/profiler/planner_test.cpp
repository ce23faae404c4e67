#include "profiler/planner.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "base/error.h"
#include "profiler/plan_toml.h"
#include "tests/profiler/support/machines.h"
#include "tests/profiler/support/needs.h"

namespace hearth::profiler {
namespace {

const PlanRequest kRequest{.budget = {.ram = Bytes(40'000'000)}, .context = 1000, .threads = 2};

Bytes all_slots(const ModelNeeds& needs) {
  Bytes all;
  for (const ExpertClass& one : needs.classes) all += one.slot * one.experts;
  return all;
}

Bytes all_device_slots(const ModelNeeds& needs) {
  Bytes all;
  for (const ExpertClass& one : needs.classes) all += one.device_slot * one.experts;
  return all;
}

// Experts of lower numbers are used more, and those of layer 1 more than those of the others.
ExpertProfile skewed_profile() {
  const ModelNeeds needs = small_needs();
  ExpertProfile profile = empty_profile(needs.model, needs.experts_of_layer);
  profile.workloads = {{.label = "prose", .tokens = 1000, .generated = 1000}};
  for (LayerProfile& layer : profile.layers)
    for (std::size_t e = 0; e < layer.experts.size(); ++e) {
      const bool steep = layer.layer == 1;
      layer.experts[e].count = (steep ? 1000 : 100) / (e + 1) + 1;
      layer.experts[e].recent = static_cast<double>(layer.experts[e].count);
    }
  profile.curves = {{"lru", {{0.25, 0.5}, {0.5, 0.8}}}};
  profile.replayed_tokens = 1000;
  return profile;
}

Machine cpu_machine() {
  Machine machine = complete_machine();
  machine.gpu.reset();
  return machine;
}

template <typename Action>
void expect_refused(ErrorCode code, std::string_view part, Action action) {
  try {
    action();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Planner, SpendsTheBudgetOnExpertsLast) {
  const ModelNeeds needs = small_needs();
  const PlacementPlan plan = plan_placement(needs, kRequest, nullptr, nullptr);
  EXPECT_EQ(plan.ram.process, needs.process);
  EXPECT_EQ(plan.ram.dense, needs.dense);
  EXPECT_EQ(plan.ram.kv, Bytes(32 * 32'000 + 512));  // 1000 tokens are 32 tiles
  EXPECT_LE(plan.ram.total(), Bytes(40'000'000));
  EXPECT_GT(plan.ram.total() + needs.classes[0].slot, Bytes(40'000'000));
  EXPECT_EQ(plan.batch, 64u);  // scratch above an eighth of the expert memory
  EXPECT_FALSE(plan.prediction.has_value());
}

TEST(Planner, TheRingOfRecentKeysAndValuesFollowsTheBatch) {
  ModelNeeds needs = small_needs();
  needs.kv.key_format = "q4_0";
  needs.kv.value_format = "q8_0";
  needs.kv.tail = 100;
  needs.kv.values.recent_per_tile = Bytes(70'000);
  const auto ring = [&](std::uint32_t context, std::uint32_t batch) {
    return needs.kv.values.recent_tiles(context, batch, needs.kv.tail);
  };
  EXPECT_EQ(ring(1000, 64), 8u);  // 100 + 32 + 64 positions are 7 tiles
  EXPECT_EQ(ring(1000, 60), 7u);
  EXPECT_EQ(ring(65, 60), 3u);  // those of the context
  const PlacementPlan plan = plan_placement(needs, kRequest, nullptr, nullptr);
  EXPECT_EQ(plan.batch, 64u);
  EXPECT_EQ(plan.ram.kv, Bytes(32 * 12'000 + 31 * 20'000 + 8 * 70'000 + 512));
  EXPECT_EQ(plan.key_format, "q4_0");
  EXPECT_EQ(plan.value_format, "q8_0");
  EXPECT_EQ(plan.kv_tail, 100u);
}

TEST(Planner, ShorterContextsLeaveMoreForExperts) {
  PlanRequest request = kRequest;
  const std::uint32_t before = plan_placement(small_needs(), request, nullptr, nullptr).ram.slots();
  request.context = 500;
  EXPECT_GE(plan_placement(small_needs(), request, nullptr, nullptr).ram.slots(), before + 3);
}

TEST(Planner, ReadsPopularityIntoSlotsAndSeed) {
  const ExpertProfile profile = skewed_profile();
  const PlacementPlan plan = plan_placement(small_needs(), kRequest, nullptr, &profile);
  ASSERT_EQ(plan.seed.size(), plan.ram.slots());
  EXPECT_EQ(plan.seed.front(), (ExpertId{.layer = 1, .index = 0}));
  EXPECT_TRUE(std::ranges::is_sorted(plan.seed_uses, std::greater()));
  EXPECT_LE(plan.seed_uses.front(), 1);
}

TEST(Planner, SaysThatABudgetIsBelowOneTokensCycle) {
  PlanRequest request = kRequest;
  request.budget = {.expert_ram = Bytes(700'000)};
  const PlacementPlan plan = plan_placement(small_needs(), request, nullptr, nullptr);
  ASSERT_LT(plan.ram.slots(), small_needs().cycle());
  ASSERT_EQ(plan.notes.size(), 1u);
  EXPECT_NE(plan.notes[0].find("fewer than the 8 experts"), std::string::npos) << plan.notes[0];
}

TEST(Planner, PutsAllButExpertsOnTheGpu) {
  Machine machine = complete_machine();
  machine.gpu->memory = machine.gpu->reserved + Bytes(28'000'000);
  PlanRequest request = kRequest;
  request.budget = {};
  request.available = Bytes(100'000'000);
  const PlacementPlan plan = plan_placement(small_needs(), request, &machine, nullptr);
  ASSERT_TRUE(plan.vram.has_value());
  EXPECT_EQ(plan.vram->dense, small_needs().dense);
  EXPECT_EQ(plan.ram.dense, Bytes(0));
  EXPECT_LE(plan.vram->total(), machine.gpu->memory);
  EXPECT_LT(plan.vram->slots(), plan.experts);
  EXPECT_EQ(plan.vram->experts, Bytes(100'096) * plan.vram->slots_of_class[0] +
                                    Bytes(150'272) * plan.vram->slots_of_class[1]);
  EXPECT_EQ(plan.ram.slots(), plan.experts);
  EXPECT_EQ(plan.ram.experts, all_slots(small_needs()));
  EXPECT_TRUE(plan.prediction.has_value());

  request.budget.vram = Bytes(0);
  EXPECT_FALSE(plan_placement(small_needs(), request, &machine, nullptr).vram.has_value());
  request.budget.vram = machine.gpu->reserved;
  expect_refused(ErrorCode::kBudget, "--vram 0",
                 [&] { plan_placement(small_needs(), request, &machine, nullptr); });
  const Machine without = cpu_machine();
  expect_refused(ErrorCode::kUsage, "has no GPU",
                 [&] { plan_placement(small_needs(), request, &without, nullptr); });
}

// What a GPU that is here counts of itself: prompts are shorter where experts want the memory, and
// what only streaming needs is taken where there is streaming.
TEST(Planner, ShortensPromptsForExpertsOnTheGpu) {
  ModelNeeds needs = small_needs();
  needs.gpu = GpuNeeds{.dense = Bytes(1'000'000), .state = Bytes(0)};
  for (const std::uint32_t batch : {64u, 32u, 8u})
    needs.gpu->batches.push_back({.batch = batch,
                                  .kv = Bytes(100'000),
                                  .scratch = Bytes(batch * 10'000),
                                  .streaming = Bytes(50'000),
                                  .beside = Bytes(1)});
  PlanRequest request = kRequest;
  request.budget = {};
  request.available = Bytes(100'000'000);
  request.gpu = GpuMemory{.memory = Bytes(1'000'000'000)};
  const auto plan_within = [&](Bytes vram) {
    request.budget.vram = vram;
    return plan_placement(needs, request, nullptr, nullptr);
  };
  const PlacementPlan roomy = plan_within(Bytes(1'000'000'000));
  EXPECT_EQ(roomy.batch, 64u);
  EXPECT_EQ(roomy.vram->scratch, Bytes(640'000));
  ASSERT_EQ(roomy.vram->slots(), roomy.experts);
  // All fit, however much of the budget scratch is.
  EXPECT_EQ(plan_within(roomy.vram->total()).batch, 64u);

  // 690,000 bytes of scratch are at most an eighth of what is left beside them from 6.62 MB on.
  const Bytes rest = Bytes(1'100'000);
  ASSERT_GT(all_device_slots(needs), Bytes(6'000'000));
  const PlacementPlan enough = plan_within(rest + Bytes(690'000 * 9));
  EXPECT_EQ(enough.batch, 64u);
  EXPECT_EQ(enough.vram->scratch, Bytes(690'000));
  EXPECT_TRUE(enough.notes.empty());
  const PlacementPlan less = plan_within(rest + Bytes(690'000 * 9 - 1));
  EXPECT_EQ(less.batch, 32u);
  EXPECT_EQ(less.vram->scratch, Bytes(370'000));
  EXPECT_LE(less.vram->total(), *request.budget.vram);
  ASSERT_EQ(less.notes.size(), 1u);
  EXPECT_NE(less.notes[0].find("32 tokens, not 64"), std::string::npos) << less.notes[0];
  EXPECT_EQ(plan_within(rest + Bytes(1'000'000)).batch, 8u);
}

TEST(Planner, PredictsFromTheProfilesCurves) {
  const Machine machine = cpu_machine();
  const ExpertProfile profile = skewed_profile();
  PlanRequest request = kRequest;
  request.policy = "lru";
  const PlacementPlan known = plan_placement(small_needs(), request, &machine, &profile);
  const PlacementPlan assumed = plan_placement(small_needs(), request, &machine, nullptr);
  ASSERT_TRUE(known.hits && assumed.hits);
  EXPECT_NE(known.hits->source.find("1000 recorded tokens"), std::string::npos);
  EXPECT_NE(assumed.hits->source.find("assumed"), std::string::npos);
  EXPECT_GT(assumed.hits->high - assumed.hits->low, 0);
  EXPECT_LT(known.prediction->low, known.prediction->tokens_per_second);
}

TEST(Planner, WithoutADiskThereIsNoPredictionOfMisses) {
  Machine machine = cpu_machine();
  machine.disk.reset();
  const PlacementPlan plan = plan_placement(small_needs(), kRequest, &machine, nullptr);
  EXPECT_FALSE(plan.prediction.has_value());
  EXPECT_EQ(plan.notes.size(), 1u);
}

TEST(Planner, AdvisesTheMostHelpfulChangeFirst) {
  Machine machine = cpu_machine();
  machine.cpu.layer_overhead = Nanoseconds(0);
  for (DiskRate& rate : machine.disk->random_reads) rate.rate /= 100;
  const double now =
      plan_placement(small_needs(), kRequest, &machine, nullptr).prediction->tokens_per_second;
  const std::vector<Advice> advice = advise(small_needs(), kRequest, machine, nullptr);
  ASSERT_GE(advice.size(), 3u);  // RAM, disk, quantisation
  for (std::size_t i = 0; i < advice.size(); ++i) {
    EXPECT_GT(advice[i].tokens_per_second, now);
    EXPECT_LE(advice[i].tokens_per_second, advice[0].tokens_per_second);
  }
  EXPECT_TRUE(std::ranges::any_of(advice, [](const Advice& one) {
    return one.change.find("bits per weight") != one.change.npos;
  }));
  PlanRequest roomy = kRequest;
  roomy.budget = {.expert_share = 1.0};
  roomy.context = 1;
  EXPECT_TRUE(advise(small_needs(), roomy, machine, nullptr).empty());
}

// ---- Properties

PlanRequest any_request() {
  PlanRequest request{.available = Bytes(*rc::gen::inRange<std::uint64_t>(0, 90'000'000)),
                      .context = *rc::gen::inRange(1u, 20'000u),
                      .threads = *rc::gen::inRange(1u, 9u)};
  switch (*rc::gen::inRange(0, 4)) {
    case 0:
      request.budget.ram = Bytes(*rc::gen::inRange<std::uint64_t>(0, 90'000'000));
      break;
    case 1:
      request.budget.expert_ram = Bytes(*rc::gen::inRange<std::uint64_t>(0, 12'000'000));
      break;
    case 2:
      request.budget.expert_share = *rc::gen::inRange(1, 101) / 100.0;
      break;
    default:
      break;
  }
  return request;
}

std::optional<PlacementPlan> planned(const PlanRequest& request, const Machine* machine,
                                     const ExpertProfile* profile) {
  try {
    return plan_placement(small_needs(), request, machine, profile);
  } catch (const Error& error) {
    RC_ASSERT(error.code() == ErrorCode::kBudget);
    return std::nullopt;
  }
}

TEST(Planner, NeverExceedsItsBudgetAndIsDeterministic) {
  EXPECT_TRUE(rc::check("budget", [] {
    const PlanRequest request = any_request();
    const ExpertProfile profile = skewed_profile();
    const ExpertProfile* known = *rc::gen::arbitrary<bool>() ? &profile : nullptr;
    Machine machine = complete_machine();
    machine.gpu->memory =
        machine.gpu->reserved + Bytes(*rc::gen::inRange<std::uint64_t>(0, 60'000'000));
    const Machine* figures = *rc::gen::arbitrary<bool>() ? &machine : nullptr;
    const auto plan = planned(request, figures, known);
    if (!plan) return;
    if (request.budget.ram) RC_ASSERT(plan->ram.total() <= *request.budget.ram);
    if (request.budget.expert_ram) RC_ASSERT(plan->ram.experts <= *request.budget.expert_ram);
    if (request.budget.expert_share) RC_ASSERT(plan->ram.experts <= all_slots(small_needs()));
    if (request.available > Bytes(0)) RC_ASSERT(plan->ram.total() <= request.available);
    if (plan->vram) RC_ASSERT(plan->vram->total() <= machine.gpu->memory);
    for (const TierPlan* tier : {&plan->ram, plan->vram ? &*plan->vram : nullptr})
      if (tier != nullptr)
        for (const std::uint32_t slots : tier->slots_of_class)
          RC_ASSERT(slots >= 2u && slots <= 32u);
    RC_ASSERT(to_toml(*planned(request, figures, known)) == to_toml(*plan));
  }));
}

TEST(Planner, MemoryThatNobodyKnowsOfIsAskedFor) {
  PlanRequest request = kRequest;
  request.budget = {};
  request.available = Bytes(0);
  expect_refused(ErrorCode::kBudget, "say how much there is with --ram",
                 [&] { plan_placement(small_needs(), request, nullptr, nullptr); });
}

TEST(Planner, MoreMemoryIsNeverFewerExperts) {
  EXPECT_TRUE(rc::check("monotone", [] {
    PlanRequest request = any_request();
    request.available = Bytes(0);
    request.budget = {.ram = Bytes(*rc::gen::inRange<std::uint64_t>(25'000'000, 60'000'000))};
    const auto less = planned(request, nullptr, nullptr);
    *request.budget.ram += Bytes(*rc::gen::inRange<std::uint64_t>(0, 20'000'000));
    const auto more = planned(request, nullptr, nullptr);
    if (less) RC_ASSERT(more.has_value());
    // A larger batch may take what is more, but no more than an eighth of the experts' bytes.
    if (less && more->batch == less->batch) RC_ASSERT(more->ram.experts >= less->ram.experts);
  }));
}

}  // namespace
}  // namespace hearth::profiler
