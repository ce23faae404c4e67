// Guessed experts get slots that nobody will miss: rules one by one, for the specification and for
// every device. Random sequences are in resolve_test.cpp.
#include "kernels/gpu/prefetch.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/gpu/support/resolve_problem.h"

namespace hearth::kernels {
namespace {

template <typename Expectations>
void prefetch_everywhere(const ResolveShape& shape, const PrefetchInput& input,
                         const ResolveState& before, Expectations expectations) {
  const auto on_one = [&](const TestDevice* on) {
    SCOPED_TRACE(on == nullptr ? "specification" : on->name);
    ResolveState state = before;
    const PrefetchOutput out = prefetch(on, shape, input, state);
    expectations(out, state);
  };
  on_one(nullptr);
  for (const TestDevice& on : test_devices()) on_one(&on);
}

std::uint64_t address_of(std::uint32_t slot) { return kSlotAddress * (slot + 1); }

std::vector<std::uint64_t> addresses(const PrefetchOutput& out) {
  std::vector<std::uint64_t> all;
  for (const ResolveOutput::Fetch& fetch : out.fetches) all.push_back(fetch.to);
  return all;
}

constexpr std::uint32_t kStep = 9;

ResolveState state_of(const ResolveShape& shape) {
  ResolveState state(shape);
  state.step = kStep;
  return state;
}

TEST(Prefetch, AbsentExpertsInRamGetFreeSlotsInTheOrderOfRanks) {
  const ResolveShape shape{.used = 4};
  ResolveState state = state_of(shape);
  state.put(3, 1, 2);
  state.sources[6] = 0;
  prefetch_everywhere(shape, {.ids = {5, 3, 6, 1}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(addresses(out), (std::vector<std::uint64_t>{address_of(0), address_of(2)}));
    EXPECT_EQ(out.fetches[1].from[2], 0x100000000u + 4096 + 14);
    EXPECT_EQ(after.slots[0], (ExpertSlot{.owner = 5, .last_use = kStep}));
    EXPECT_EQ(after.guessed[5] + after.guessed[1], 2u);
    EXPECT_EQ(after.guessed[3], 0u);
    EXPECT_EQ(after.slots[1].last_use, 2u);
    EXPECT_EQ(after.active_in[5], kNever);
    EXPECT_EQ(after.counters[0], (ExpertCounters{.prefetched = 2}));
  });
}

TEST(Prefetch, VictimsAreOlderThanTheStepBeforeAndOfOtherLayers) {
  const ResolveShape shape{.layers = 2, .used = 4, .slots_of_class = {6}, .class_of_layer = {0, 0}};
  ResolveState state = state_of(shape);
  state.put(0, 0, kStep);
  state.put(1, 1, kStep - 1);
  state.put(2, 2, kStep - 2);
  state.put(15, 3, 1);  // of the layer that the guess is for
  state.guess(3, 4, kStep - 5);
  state.slots[5].owner = kRetiredSlot;
  prefetch_everywhere(
      shape, {.layer = 1, .ids = {0, 1, 2, 3}}, state, [](const auto& out, const auto& after) {
        EXPECT_EQ(addresses(out), (std::vector<std::uint64_t>{address_of(4), address_of(2)}));
        EXPECT_EQ(after.slot_of[8], 4u);
        EXPECT_EQ(after.slot_of[9], 2u);
        EXPECT_EQ(after.slot_of[3], kNoSlot);
        EXPECT_EQ(after.guessed[3], 0u);
        EXPECT_EQ(after.counters[1],
                  (ExpertCounters{.evictions = 2, .prefetched = 2, .prefetches_dropped = 1}));
        EXPECT_EQ(after.counters[0], ExpertCounters{});
      });
}

TEST(Prefetch, TheLinksTimeIsSharedWithTheFetches) {
  const ResolveShape shape{.used = 4, .slots_of_class = {8}};
  const std::uint32_t expected[] = {3, 1, 0, 0};
  for (std::uint32_t fetches = 0; fetches < 4; ++fetches)
    prefetch_everywhere(
        shape, {.ids = {0, 1, 2, 3}, .fetch_count = fetches, .limits = {3, 1, 0}}, state_of(shape),
        [&](const auto& out, const auto&) { EXPECT_EQ(out.fetches.size(), expected[fetches]); });
  prefetch_everywhere(shape, {.ids = {0, 1, 2, 3}, .most = 2}, state_of(shape),
                      [&](const auto& out, const auto&) { EXPECT_EQ(out.fetches.size(), 2u); });
}

TEST(Prefetch, RowsTakeTurnsAndAnExpertComesOnce) {
  const ResolveShape shape{.used = 2, .slots_of_class = {3}};
  prefetch_everywhere(shape, {.rows = 2, .ids = {4, 5, 4, 6}}, state_of(shape),
                      [](const auto& out, const auto& after) {
                        EXPECT_EQ(out.fetches.size(), 3u);
                        EXPECT_EQ(after.slot_of[4], 0u);
                        EXPECT_EQ(after.slot_of[5], 1u);
                        EXPECT_EQ(after.slot_of[6], 2u);
                      });
}

TEST(Prefetch, TheLargestGuessLeavesWhatTheSpecificationLeaves) {
  const ResolveShape shape{
      .layers = 2, .experts = 1024, .used = 64, .slots_of_class = {1300}, .class_of_layer = {0, 0}};
  ResolveState state = state_of(shape);
  state.step = 100;
  Random random(4);
  for (std::uint32_t slot = 0; slot < 1300; ++slot)
    state.put(slot, slot, static_cast<std::uint32_t>(random.below(100)));
  PrefetchInput input{.layer = 1, .rows = 8, .limits = {200}, .most = 512};
  for (std::uint32_t pair = 0; pair < 512; ++pair)
    input.ids.push_back(static_cast<std::uint16_t>(random.below(1024)));
  ResolveState expected_state = state;
  const PrefetchOutput expected = prefetch(nullptr, shape, input, expected_state);
  EXPECT_EQ(expected.fetches.size(), 200u);
  for (const TestDevice& on : test_devices()) {
    ResolveState found = state;
    EXPECT_EQ(prefetch(&on, shape, input, found), expected) << on.name;
    EXPECT_EQ(found, expected_state) << on.name;
  }
}

}  // namespace
}  // namespace hearth::kernels
