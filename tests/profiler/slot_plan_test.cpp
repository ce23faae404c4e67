#include "profiler/slot_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>

namespace hearth::profiler {
namespace {

TEST(SlotPlan, SplitsInProportionToTheExperts) {
  const std::vector<SlotClass> classes = {{Bytes(100), 40}, {Bytes(200), 20}};
  const SlotPlan plan = plan_slots(classes, Bytes(4000), 2);
  EXPECT_EQ(plan.slots, (std::vector<std::uint32_t>{20, 10}));
  EXPECT_EQ(plan.total, Bytes(4000));
}

TEST(SlotPlan, GivesEveryExpertASlotWhenTheBudgetAllows) {
  const std::vector<SlotClass> classes = {{Bytes(100), 40}, {Bytes(200), 20}};
  EXPECT_EQ(plan_slots(classes, Bytes(8000), 4).slots, (std::vector<std::uint32_t>{40, 20}));
  EXPECT_EQ(plan_slots(classes, kGiB, 4).total, Bytes(8000));
  EXPECT_EQ(plan_slots(classes, Bytes(7999), 4).slots, (std::vector<std::uint32_t>{39, 20}));
}

TEST(SlotPlan, SaysWhatTheLeastBudgetIs) {
  const std::vector<SlotClass> classes = {{Bytes(100), 40}, {Bytes(200), 3}};
  const SlotPlan refused = plan_slots(classes, Bytes(1399), 8);
  EXPECT_TRUE(refused.slots.empty());
  EXPECT_EQ(refused.needed, Bytes(8 * 100 + 3 * 200));
  EXPECT_EQ(plan_slots(classes, refused.needed, 8).slots, (std::vector<std::uint32_t>{8, 3}));
}

TEST(SlotPlan, SpendsTheRestOnSlotsThatStillFit) {
  // One more of the large ones does not fit after the shares are cut; small ones do.
  const std::vector<SlotClass> classes = {{Bytes(1000), 10}, {Bytes(10), 100}};
  const SlotPlan plan = plan_slots(classes, Bytes(1990), 1);
  EXPECT_EQ(plan.slots, (std::vector<std::uint32_t>{1, 99}));
}

TEST(SlotPlan, AModelWithoutExpertsNeedsNothing) {
  EXPECT_EQ(plan_slots({}, Bytes(0), 8).needed, Bytes(0));
  const std::vector<SlotClass> classes = {{Bytes(100), 0}};
  EXPECT_EQ(plan_slots(classes, Bytes(1000), 8).slots, std::vector<std::uint32_t>{0});
}

TEST(SlotPlan, HoldsItsPromisesForAnyClassesAndBudget) {
  EXPECT_TRUE(rc::check("plan_slots", [] {
    std::vector<SlotClass> classes;
    const int count = *rc::gen::inRange(1, 6);
    for (int i = 0; i < count; ++i)
      classes.push_back({Bytes(*rc::gen::inRange<std::uint64_t>(1, 3'000'000)),
                         *rc::gen::inRange<std::uint32_t>(0, 5000)});
    const auto minimum = *rc::gen::inRange<std::uint32_t>(0, 20);
    Bytes everything;
    for (const SlotClass& one : classes) everything += one.slot * one.experts;
    const Bytes budget(*rc::gen::inRange<std::uint64_t>(0, everything.count * 5 / 4 + 2));
    const SlotPlan plan = plan_slots(classes, budget, minimum);

    Bytes needed;
    for (const SlotClass& one : classes) needed += one.slot * std::min(minimum, one.experts);
    RC_ASSERT(plan.needed == needed);
    RC_ASSERT(plan.slots.empty() == (needed > budget));
    if (plan.slots.empty()) return;

    Bytes total;
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const SlotClass& one = classes[i];
      RC_ASSERT(plan.slots[i] <= one.experts);
      RC_ASSERT(plan.slots[i] >= std::min(minimum, one.experts));
      total += one.slot * plan.slots[i];
    }
    RC_ASSERT(plan.total == total);
    RC_ASSERT(total <= budget);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const SlotClass& one = classes[i];
      // Nothing that could still be added fits.
      if (plan.slots[i] < one.experts) RC_ASSERT(one.slot > budget - total);
      if (plan.slots[i] <= std::min(minimum, one.experts)) continue;
      // No class is ahead of one whose slots are no larger, by more than the rounding of a slot
      // on either side: whenever the rest of the budget could go to it, it could go to the other.
      for (std::size_t k = 0; k < classes.size(); ++k) {
        const SlotClass& other = classes[k];
        if (other.slot > one.slot || plan.slots[k] == other.experts) continue;
        RC_ASSERT((plan.slots[i] - 1.0) * other.experts <= (plan.slots[k] + 1.0) * one.experts);
      }
    }
  }));
}

TEST(SlotPlan, SpendsOnMostUsesPerByte) {
  const std::vector<float> hot = {0.9f, 0.8f, 0.1f}, cold = {0.3f, 0.2f, 0.0f};
  const std::vector<SlotClass> classes = {{Bytes(100), 3, cold}, {Bytes(200), 3, hot}};
  EXPECT_EQ(plan_slots(classes, Bytes(500), 0).slots, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(plan_slots(classes, Bytes(600), 0).slots, (std::vector<std::uint32_t>{2, 2}));
  EXPECT_EQ(plan_slots(classes, Bytes(500), 1).slots, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(plan_slots(classes, Bytes(900), 1).slots, (std::vector<std::uint32_t>{3, 3}));
}

TEST(SlotPlan, ALargerBudgetHoldsNoFewerUses) {
  EXPECT_TRUE(rc::check("uses", [] {
    std::vector<std::vector<float>> uses(*rc::gen::inRange<std::size_t>(1, 5));
    std::vector<SlotClass> classes;
    Bytes everything;
    for (std::vector<float>& one : uses) {
      const auto count = *rc::gen::inRange<std::uint32_t>(1, 40);
      for (std::uint32_t i = 0; i < count; ++i)
        one.push_back(static_cast<float>(*rc::gen::inRange(0, 1000)) / 1000.0f);
      std::ranges::sort(one, std::greater());
      classes.push_back({Bytes(*rc::gen::inRange<std::uint64_t>(1, 1000)), count, one});
      everything += classes.back().slot * count;
    }
    const auto minimum = *rc::gen::inRange<std::uint32_t>(0, 4);
    const auto held = [&](Bytes budget) {
      const SlotPlan plan = plan_slots(classes, budget, minimum);
      RC_ASSERT(plan.slots.empty() || plan.total <= budget);
      double sum = 0;
      for (std::size_t c = 0; c < plan.slots.size(); ++c)
        for (std::uint32_t i = 0; i < plan.slots[c]; ++i) sum += static_cast<double>(uses[c][i]);
      return sum;
    };
    const Bytes less(*rc::gen::inRange<std::uint64_t>(0, everything.count));
    const Bytes more = less + Bytes(*rc::gen::inRange<std::uint64_t>(0, everything.count));
    RC_ASSERT(held(less) <= held(more) + 1e-9);
  }));
}

}  // namespace
}  // namespace hearth::profiler
