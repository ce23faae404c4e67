// How many slots of VRAM are held for good: what costs nothing always is, and beyond that as many
// as spare more bytes from disk than they cost over the link.
#include "profiler/held_slots.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "base/error.h"
#include "profiler/planner.h"
#include "tests/profiler/support/machines.h"
#include "tests/profiler/support/needs.h"

namespace hearth::profiler {
namespace {

constexpr std::uint32_t kCycle = 4;  // of a class: two layers, top 2

TEST(HeldSlots, FewerThanACycleNeverFollow) {
  EXPECT_EQ(held_slots({.slots = 3, .experts = 32, .cycle = kCycle}, 0), 3u);
  EXPECT_EQ(held_slots({.slots = 4, .experts = 32, .cycle = kCycle}, 0), 0u);
  EXPECT_EQ(held_slots({.slots = 20, .experts = 32, .cycle = kCycle}, 0.5), 10u);
  EXPECT_EQ(held_slots({.slots = 20, .experts = 32, .cycle = kCycle}, 0.9), 20u);
  EXPECT_EQ(held_slots({.slots = 32, .experts = 32, .cycle = kCycle}, 0), 32u);
}

// VRAM of so many slots of each class, and RAM for so many bytes of experts.
struct Tiers {
  std::uint32_t vram = 0;
  std::uint32_t ram = 0;
};

std::vector<std::uint32_t> held(const Tiers& tiers, FunctionRef<double(const TierHits&)> cost) {
  const ModelNeeds needs = small_needs();
  const std::vector<std::uint32_t> slots(2, tiers.vram);
  return choose_held({.needs = needs,
                      .hits = HitModel::of_gpu(needs, nullptr),
                      .slots = slots,
                      .cost = cost,
                      .ram_beside = [&](std::span<const std::uint32_t> of_class) {
                        std::vector<std::uint32_t> ram;
                        for (const std::uint32_t one : of_class)
                          ram.push_back(std::min(tiers.ram, std::max(32 - one, 2u)));
                        return ram;
                      }});
}

// A byte from disk costs so many from RAM, and one is served after the other.
std::vector<std::uint32_t> held(const Tiers& tiers, double disk_cost = 10) {
  return held(tiers, [&](const TierHits& hits) { return disk_cost * hits.disk + hits.ram; });
}

TEST(HeldSlots, WhereRamHasRoomForAllRecencyWins) {
  EXPECT_EQ(held({.vram = 16, .ram = 32}), (std::vector{0u, 0u}));
}

TEST(HeldSlots, WhereBothTiersTogetherHoldAllNothingIsLeftOnDisk) {
  const std::vector<std::uint32_t> found = held({.vram = 16, .ram = 22});
  for (const std::uint32_t one : found) {
    EXPECT_GE(one + 22, 32u);
    EXPECT_LE(one, 16 - kCycle);
  }
}

TEST(HeldSlots, ACheaperDiskLeavesMoreToRecency) {
  const auto dear = held({.vram = 20, .ram = 6}, 50), cheap = held({.vram = 20, .ram = 6}, 1.5);
  EXPECT_GT(dear[0], cheap[0]);
  EXPECT_EQ(held({.vram = 20, .ram = 6}, 1)[0], 0u);
}

// Where the step waits for the disk anyway, what RAM serves meanwhile costs nothing.
TEST(HeldSlots, WhatIsServedBesideTheDiskCostsNothing) {
  constexpr double kDisk = 3;
  const Tiers tiers{.vram = 8, .ram = 10};
  const auto side_by_side =
      held(tiers, [](const TierHits& hits) { return std::max(kDisk * hits.disk, hits.ram); });
  EXPECT_GT(side_by_side[0], held(tiers, kDisk)[0]);
}

TEST(HeldSlots, BelowACycleAllAreHeld) {
  EXPECT_EQ(held({.vram = 3, .ram = 32}), (std::vector{3u, 3u}));
}

// ---- plans

// Experts of lower numbers are used more.
ExpertProfile skewed_profile() {
  const ModelNeeds needs = small_needs();
  ExpertProfile profile = empty_profile(needs.model, needs.experts_of_layer);
  profile.workloads = {{.label = "prose", .tokens = 1000, .generated = 1000}};
  for (LayerProfile& layer : profile.layers)
    for (std::size_t e = 0; e < layer.experts.size(); ++e) {
      layer.experts[e].count = 1000 / (e + 1) + 1;
      layer.experts[e].recent = static_cast<double>(layer.experts[e].count);
    }
  return profile;
}

PlanRequest any_request() {
  PlanRequest request{
      .budget = {.vram = Bytes(*rc::gen::inRange<std::uint64_t>(24'000'000, 34'000'000))},
      .gpu = GpuMemory{.memory = Bytes(60'000'000), .reserved = Bytes(100'000)},
      .context = 100,
      .threads = 2};
  if (*rc::gen::arbitrary<bool>())
    request.budget.ram = Bytes(*rc::gen::inRange<std::uint64_t>(10'500'000, 20'000'000));
  else
    request.budget.expert_ram = Bytes(*rc::gen::inRange<std::uint64_t>(500'000, 9'000'000));
  return request;
}

std::optional<PlacementPlan> planned(const PlanRequest& request, const ExpertProfile* profile) {
  try {
    return plan_placement(small_needs(), request, nullptr, profile);
  } catch (const Error& error) {
    RC_ASSERT(error.code() == ErrorCode::kBudget);
    return std::nullopt;
  }
}

// What is held is hit as a set that stays was when it was replayed; where nothing was, as often as
// in the recording; without a profile like any other set.
TEST(HeldSlots, AreHitAsWasMeasured) {
  const ModelNeeds needs = small_needs();
  const std::vector<std::uint32_t> slots{16, 16}, none{0, 0}, half{8, 8};
  ExpertProfile profile = skewed_profile();
  const double popular = HitModel::of_gpu(needs, &profile).expected(slots, slots);
  EXPECT_GT(popular, 0.7);  // one of sixteen has 30 % of the uses
  profile.curves = {{"lru", {{0.5, 0.8}}}, {"static", {{0.5, 0.6}}}};
  const HitModel replayed = HitModel::of_gpu(needs, &profile);
  EXPECT_DOUBLE_EQ(replayed.expected(slots, none), 0.8);
  EXPECT_DOUBLE_EQ(replayed.expected(slots, slots), 0.6);
  // A quarter of all is held, and of the rest a third follows.
  EXPECT_NEAR(replayed.expected(slots, half), 0.3 + 0.7 * 0.8 * 2 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(HitModel::of_gpu(needs, nullptr).expected(slots, slots), 0.5);
  EXPECT_DOUBLE_EQ(replayed.expected(std::vector{32u, 32u}, std::vector{32u, 32u}), 1);
}

TEST(HeldSlots, OfAPlanAreItsOwnAndSpareRam) {
  EXPECT_TRUE(rc::check("held", [] {
    const ExpertProfile profile = skewed_profile();
    const PlanRequest request = any_request();
    const auto plan = planned(request, *rc::gen::arbitrary<bool>() ? &profile : nullptr);
    if (!plan) return;
    const TierPlan& vram = *plan->vram;
    RC_ASSERT(vram.total() <= *request.budget.vram);
    if (request.budget.ram) RC_ASSERT(plan->ram.total() <= *request.budget.ram);
    if (request.budget.expert_ram) RC_ASSERT(plan->ram.experts <= *request.budget.expert_ram);
    RC_ASSERT(vram.held_of_class.size() == 2u);
    for (std::size_t c = 0; c < 2; ++c) {
      const std::uint32_t slots = vram.slots_of_class[c], held = vram.held_of_class[c];
      RC_ASSERT(held <= slots);
      RC_ASSERT(held == slots || slots - held >= kCycle);
      if (slots == 32) RC_ASSERT(held == 32u);
      // No slot in RAM is for what is held, but for those that a layer reads at once.
      RC_ASSERT(plan->ram.slots_of_class[c] >= 2u);
      RC_ASSERT(plan->ram.slots_of_class[c] <= std::max(32 - held, 2u));
    }
    // The seed has what both hold together, each once.
    std::vector<ExpertId> seed = plan->seed;
    std::ranges::sort(seed);
    RC_ASSERT(std::ranges::adjacent_find(seed) == seed.end());
    RC_ASSERT(seed.size() <= plan->slots_together(0) + plan->slots_together(1));
  }));
}

TEST(HeldSlots, MakeThePredictionFaster) {
  const Machine machine = complete_machine();
  PlanRequest request{.budget = {.expert_ram = Bytes(5'000'000), .vram = Bytes(27'000'000)},
                      .gpu = GpuMemory{.memory = Bytes(60'000'000), .reserved = Bytes(100'000)},
                      .context = 100,
                      .threads = 2};
  const PlacementPlan plan = plan_placement(small_needs(), request, &machine, nullptr);
  ASSERT_TRUE(plan.prediction.has_value());
  ASSERT_GT(plan.vram->held(), 0u);
  const ModelNeeds needs = small_needs();
  const HitModel hits = HitModel::of_gpu(needs, nullptr);
  const double in_vram = hits.expected(plan.vram->slots_of_class);
  const double in_ram = hits.expected(plan.ram.slots_of_class);
  const double found = std::max(in_vram, in_ram);
  const DecodePrediction without = predict_decode(
      needs, machine,
      {.hits = {.vram = in_vram, .ram = found - in_vram, .disk = 1 - found}, .threads = 2});
  EXPECT_GT(plan.prediction->tokens_per_second, without.tokens_per_second);
}

}  // namespace
}  // namespace hearth::profiler
