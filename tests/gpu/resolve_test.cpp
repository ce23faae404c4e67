// Who computes an expert, and which expert gives its slot up for it: rules one by one, for the
// specification and for every device; then random sequences, in which both leave the same bytes.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "tests/gpu/support/resolve_problem.h"

namespace hearth::kernels {
namespace {

// The specification, and each device.
std::vector<const TestDevice*> all() {
  std::vector<const TestDevice*> where{nullptr};
  for (const TestDevice& on : test_devices()) where.push_back(&on);
  return where;
}

std::string name_of(const TestDevice* on) { return on == nullptr ? "specification" : on->name; }

// `expectations(output, state)` on what the layer leaves, wherever it is resolved.
template <typename Expectations>
void resolve_everywhere(const ResolveShape& shape, const ResolveInput& input,
                        const ResolveState& before, Expectations expectations) {
  for (const TestDevice* on : all()) {
    SCOPED_TRACE(name_of(on));
    ResolveState state = before;
    const ResolveOutput out = resolve(on, shape, input, state);
    expectations(out, state);
  }
}

std::uint64_t address_of(std::uint32_t slot) { return kSlotAddress * (slot + 1); }

TEST(Resolve, HitsAreComputedInTheirSlotsAndStamped) {
  const ResolveShape shape;
  ResolveState state(shape);
  state.step = 9;
  state.put(5, 2, 3);
  state.put(1, 0, 4);
  resolve_everywhere(shape, {.ids = {5, 1}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.hit_jobs(),
              (std::vector<ExpectedJob>{{address_of(2), 5, {0}}, {address_of(0), 1, {0}}}));
    EXPECT_EQ(out.hits[0].matrices[1], address_of(2) + kTestLayout.offsets[1]);
    EXPECT_EQ(out.hits[0].matrices[2], address_of(2) + kTestLayout.offsets[2]);
    EXPECT_EQ(out.fetch_count, 0u);
    EXPECT_EQ(out.host_count, 0u);
    EXPECT_EQ(after.slots[2], (ExpertSlot{.owner = 5, .last_use = 9}));
    EXPECT_EQ(after.active_in[5], 9u);
    EXPECT_EQ(after.counters[0], (ExpertCounters{.hits = 2}));
  });
}

// It may be on its way: what was prefetched in this step waits with the fetched, without a gather
// of its own; what was prefetched earlier is here.
TEST(Resolve, AGuessOfThisStepIsAHitThatIsComputedLater) {
  const ResolveShape shape{.used = 4};
  ResolveState state(shape);
  state.step = 9;
  state.guess(5, 2, 9);
  state.guess(1, 0, 8);
  state.put(2, 1, 8);
  resolve_everywhere(shape, {.ids = {5, 1, 3, 2}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.hit_jobs(),
              (std::vector<ExpectedJob>{{address_of(0), 1, {0}}, {address_of(1), 2, {0}}}));
    EXPECT_EQ(out.fetched_jobs(),
              (std::vector<ExpectedJob>{{address_of(2), 5, {0}}, {address_of(3), 3, {0}}}));
    EXPECT_EQ(out.fetch_count, 1u);
    EXPECT_EQ(out.fetches[0].to, address_of(3));
    EXPECT_EQ(after.guessed, std::vector<std::uint32_t>(8, 0));
    EXPECT_EQ(after.slots[2].last_use, 9u);
    EXPECT_EQ(after.counters[0], (ExpertCounters{.hits = 3, .fetched = 1, .prefetches_used = 2}));
  });
}

TEST(Resolve, AGuessOfThisStepIsNoVictimAndAnOldOneIsCountedAsItGoes) {
  const ResolveShape shape{.used = 2, .slots_of_class = {2}};
  ResolveState state(shape);
  state.step = 9;
  state.guess(5, 0, 9);
  state.guess(6, 1, 8);
  resolve_everywhere(shape, {.ids = {0, 1}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.fetched_jobs(), (std::vector<ExpectedJob>{{address_of(1), 0, {0}}}));
    EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 1, {0}}}));
    EXPECT_EQ(after.guessed[5], 1u);
    EXPECT_EQ(after.guessed[6], 0u);
    EXPECT_EQ(
        after.counters[0],
        (ExpertCounters{.fetched = 1, .on_host = 1, .evictions = 1, .prefetches_dropped = 1}));
  });
}

TEST(Resolve, FreeSlotsGoFirstThenTheOneUnusedForLongest) {
  const ResolveShape shape{.used = 3};
  ResolveState state(shape);
  state.step = 9;
  state.put(7, 0, 8);
  state.put(6, 1, 2);
  state.put(5, 3, 1);
  resolve_everywhere(shape, {.ids = {0, 1, 2}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.fetched_jobs(),
              (std::vector<ExpectedJob>{
                  {address_of(2), 0, {0}}, {address_of(3), 1, {0}}, {address_of(1), 2, {0}}}));
    EXPECT_EQ(out.fetches[1].to, address_of(3));
    EXPECT_EQ(out.fetches[1].from[2], 0x100000000u + 4096 + 14);
    EXPECT_EQ(after.slot_of[5], kNoSlot);
    EXPECT_EQ(after.slot_of[7], 0u);
    EXPECT_EQ(after.counters[0], (ExpertCounters{.fetched = 3, .evictions = 2}));
  });
}

TEST(Resolve, WhatIsUsedInTheStepIsNoVictimWhateverItsLayer) {
  const ResolveShape shape{.layers = 2, .used = 3, .class_of_layer = {0, 0}};
  ResolveState state(shape);
  state.step = 9;
  state.put(0, 0, 9);  // of the layer before
  state.put(8, 1, 1);  // hits now
  state.put(9, 2, 9);
  state.put(1, 3, 8);
  resolve_everywhere(
      shape, {.layer = 1, .ids = {0, 2, 3}}, state, [](const auto& out, const auto& after) {
        EXPECT_EQ(out.fetched_jobs(), (std::vector<ExpectedJob>{{address_of(3), 2, {0}}}));
        EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 3, {0}}}));
        EXPECT_EQ(after.slot_of[0], 0u);
        EXPECT_EQ(after.slot_of[8], 1u);
      });
}

TEST(Resolve, AgesAreTakenModuloTheRangeOfSteps) {
  const ResolveShape shape{.used = 1, .slots_of_class = {2}};
  ResolveState state(shape);
  state.step = 3;
  state.put(4, 0, 1);
  state.put(5, 1, 0xfffffff0);  // before the numbers began anew
  resolve_everywhere(shape, {.ids = {0}}, state, [](const auto& out, const auto&) {
    EXPECT_EQ(out.fetches[0].to, address_of(1));
  });
}

TEST(Resolve, ProtectedExpertsGoLastAlsoAroundTheEndOfTheModel) {
  const ResolveShape shape{.layers = 3, .used = 3, .class_of_layer = {0, 0, 0}};
  ResolveState state(shape);
  state.step = 9;
  state.put(20, 0, 1);  // of layer 2, protected
  state.put(3, 1, 2);   // of layer 0, protected
  state.put(9, 2, 7);
  state.put(10, 3, 8);
  const ResolveInput input{
      .layer = 1, .ids = {0, 3, 4}, .protected_first = 16, .protected_count = 16};
  resolve_everywhere(shape, input, state, [](const auto& out, const auto&) {
    EXPECT_EQ(out.fetched_jobs(),
              (std::vector<ExpectedJob>{
                  {address_of(2), 0, {0}}, {address_of(3), 3, {0}}, {address_of(0), 4, {0}}}));
  });
}

TEST(Resolve, RetiredSlotsAreNeverGiven) {
  const ResolveShape shape{.used = 2, .slots_of_class = {2}};
  ResolveState state(shape);
  state.slots[0].owner = kRetiredSlot;
  resolve_everywhere(shape, {.ids = {0, 1}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.fetched_jobs(), (std::vector<ExpectedJob>{{address_of(1), 0, {0}}}));
    EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 1, {0}}}));
    EXPECT_EQ(after.slots[0].owner, kRetiredSlot);
  });
}

TEST(Resolve, WhatIsHeldIsHitAndNeverAVictim) {
  const ResolveShape shape{
      .used = 4, .slots_of_class = {3}, .class_of_layer = {0}, .held_of_class = {2}};
  ResolveState state(shape);
  state.step = 9;
  state.put(7, 0, 1);  // the oldest of all
  state.put(6, 1, 2);
  state.put(5, 2, 8);
  resolve_everywhere(shape, {.ids = {6, 0, 1, 2}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.hit_jobs(), (std::vector<ExpectedJob>{{address_of(1), 6, {0}}}));
    EXPECT_EQ(out.fetched_jobs(), (std::vector<ExpectedJob>{{address_of(2), 0, {0}}}));
    EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 1, {0}}, {0, 2, {0}}}));
    EXPECT_EQ(after.slots[0], (ExpertSlot{.owner = 7, .last_use = 1}));
    EXPECT_EQ(after.slots[1], (ExpertSlot{.owner = 6, .last_use = 9}));
    EXPECT_EQ(after.slot_of[5], kNoSlot);
  });
}

// Nor is a slot that is held and free filled by a step.
TEST(Resolve, WhereAllIsHeldNothingIsFetched) {
  const ResolveShape shape{
      .used = 2, .slots_of_class = {3}, .class_of_layer = {0}, .held_of_class = {3}};
  ResolveState state(shape);
  state.put(7, 0, 1);
  resolve_everywhere(shape, {.ids = {7, 1}}, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.fetch_count, 0u);
    EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 1, {0}}}));
    EXPECT_EQ(after.slots[1].owner, kFreeSlot);
  });
}

TEST(Resolve, TheRecentlyActiveAreFetchedFirstAndTheLimitGoesByTheMisses) {
  const ResolveShape shape{.used = 4};
  ResolveState state(shape);
  state.step = 9;
  state.active_in[2] = 5;
  state.active_in[3] = 8;
  state.sources[1] = 0;
  const ResolveInput input{.ids = {0, 1, 2, 3}, .fetch_limits = {0, 1, 1, 2, 4}};
  resolve_everywhere(shape, input, state, [](const auto& out, const auto& after) {
    EXPECT_EQ(out.fetched_jobs(),
              (std::vector<ExpectedJob>{{address_of(0), 3, {0}}, {address_of(1), 2, {0}}}));
    EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 0, {0}}, {0, 1, {0}}}));
    EXPECT_EQ(after.counters[0], (ExpertCounters{.fetched = 2, .on_host = 2, .not_in_ram = 1}));
    EXPECT_EQ(after.active_in[1], 9u);
  });
}

TEST(Resolve, RowsThatShareAnExpertAreNeighbours) {
  const ResolveShape shape{.used = 2, .most_fetches = 1};
  ResolveState state(shape);
  state.step = 9;
  state.put(4, 3, 8);
  state.active_in[6] = 8;
  resolve_everywhere(
      shape, {.ids = {1, 4, 6, 1, 4, 6}}, state, [](const auto& out, const auto& after) {
        EXPECT_EQ(out.hit_jobs(), (std::vector<ExpectedJob>{{address_of(3), 4, {0, 2}}}));
        EXPECT_EQ(out.fetched_jobs(), (std::vector<ExpectedJob>{{address_of(0), 6, {1, 2}}}));
        EXPECT_EQ(out.jobs_of_host(), (std::vector<ExpectedJob>{{0, 1, {0, 1}}}));
        EXPECT_EQ(out.results,
                  (std::vector<std::uint64_t>{kHostResults + 4 * 64, kDeviceResults,
                                              kDeviceResults + 2 * 64, kHostResults + 5 * 64,
                                              kDeviceResults + 64, kDeviceResults + 3 * 64}));
        const auto weight = [](float pair) { return std::bit_cast<std::uint32_t>(pair + 0.5f); };
        EXPECT_EQ(out.x_weights, (std::vector<std::uint32_t>{weight(1), weight(4), weight(2),
                                                             weight(5), weight(0), weight(3)}));
        EXPECT_EQ(after.counters[0], (ExpertCounters{.hits = 1, .fetched = 1, .on_host = 1}));
      });
}

TEST(Resolve, WhatNoRouterMayChooseIsCountedAndSafe) {
  const ResolveShape shape{.used = 3};
  ResolveState state(shape);
  state.put(2, 1, 0);
  state.faults = 7;
  resolve_everywhere(
      shape, {.ids = {2, 8, 2, 65535, 2, 2}}, state, [](const auto& out, const auto& after) {
        EXPECT_EQ(out.hit_jobs(), (std::vector<ExpectedJob>{{address_of(1), 2, {0, 1}}}));
        EXPECT_EQ(out.fetch_count + out.host_count, 0u);
        EXPECT_EQ(out.results,
                  (std::vector<std::uint64_t>{kDeviceResults, kNothing, kDeviceResults, kNothing,
                                              kDeviceResults + 64, kDeviceResults + 64}));
        EXPECT_EQ(after.faults, 7u + 4);
        EXPECT_EQ(after.counters[0], (ExpertCounters{.hits = 1, .faults = 4}));
      });
}

TEST(Resolve, JobsThatAreLeftOverHaveNoRows) {
  const ResolveShape shape;
  resolve_everywhere(shape, {.ids = {6, 7}, .fetch_limits = {0}}, ResolveState(shape),
                     [](const auto& out, const auto&) {
                       for (const auto& list : {out.hits, out.fetched})
                         for (const ResolveOutput::Job& job : list)
                           EXPECT_EQ(job, ResolveOutput::Job{});
                       EXPECT_EQ(out.host_count, 2u);
                     });
}

// As many pairs as there may be, and more slots than threads. Those unused for long are close
// together, so that a thread has several of the victims.
TEST(Resolve, TheLargestStepLeavesWhatTheSpecificationLeaves) {
  const ResolveShape shape{.layers = 2,
                           .experts = 1024,
                           .used = 64,
                           .most_fetches = 512,
                           .slots_of_class = {1300},
                           .class_of_layer = {0, 0}};
  ResolveState state(shape);
  state.step = 100;
  Random random(3);
  for (std::uint32_t slot = 0; slot < 1300; ++slot)
    state.put(slot, slot, static_cast<std::uint32_t>(random.below(slot % 512 < 100 ? 50 : 99)));
  ResolveInput input{.layer = 1};
  for (std::uint32_t pair = 0; pair < 512; ++pair)
    input.ids.push_back(static_cast<std::uint16_t>(random.below(1024)));
  ResolveState expected_state = state;
  const ResolveOutput expected = resolve(nullptr, shape, input, expected_state);
  EXPECT_GT(expected.fetch_count, 200u);
  for (const TestDevice& on : test_devices()) {
    ResolveState found = state;
    EXPECT_EQ(resolve(&on, shape, input, found), expected) << on.name;
    EXPECT_EQ(found, expected_state) << on.name;
  }
}

// ---- random sequences

std::uint32_t below(Random& random, std::uint64_t bound) {
  return static_cast<std::uint32_t>(random.below(bound));
}

ResolveShape random_shape(Random& random) {
  ResolveShape shape{.layers = 1 + below(random, 3),
                     .experts = 1 + below(random, 24),
                     .most_fetches = below(random, 12),
                     .slots_of_class = {},
                     .class_of_layer = {}};
  shape.used = 1 + below(random, std::min(shape.experts, 6u));
  const std::uint32_t classes = 1 + below(random, 2);
  for (std::uint32_t c = 0; c < classes; ++c)
    shape.slots_of_class.push_back(below(random, shape.all_experts() + 1));
  for (const std::uint32_t slots : shape.slots_of_class)
    shape.held_of_class.push_back(random.below(2) == 0 ? 0 : below(random, slots + 1));
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer)
    shape.class_of_layer.push_back(below(random, classes));
  return shape;
}

// Now and then something that no router gives.
ResolveInput random_input(Random& random, const ResolveShape& shape, std::uint32_t layer) {
  ResolveInput input{.layer = layer,
                     .protected_first = below(random, shape.all_experts()),
                     .protected_count = below(random, shape.all_experts() + 1)};
  const std::uint32_t rows = 1 + below(random, kMostProductRows);
  std::vector<std::uint16_t> experts(shape.experts);
  for (std::uint16_t e = 0; e < experts.size(); ++e) experts[e] = e;
  for (std::uint32_t row = 0; row < rows; ++row)
    for (std::uint32_t rank = 0; rank < shape.used; ++rank) {
      std::swap(experts[rank], experts[rank + below(random, shape.experts - rank)]);
      const bool wrong = random.below(100) == 0;
      input.ids.push_back(wrong ? static_cast<std::uint16_t>(random.below(shape.experts + 3))
                                : experts[rank]);
    }
  for (std::size_t misses = 0; misses <= input.ids.size(); ++misses)
    input.fetch_limits.push_back(below(random, misses + 2));
  return input;
}

// What is in RAM, and how many slots there are, may change between steps.
// Returns how many guesses lost their slots.
std::uint32_t change_between_steps(Random& random, const ResolveShape& shape, ResolveState& state) {
  ++state.step;
  std::uint32_t guesses = 0;
  for (std::uint32_t expert = 0; expert < shape.all_experts(); ++expert)
    if (random.below(8) == 0)
      state.sources[expert] = state.sources[expert] == 0 ? 4096 * std::uint64_t{expert + 1} : 0;
  for (ExpertSlot& slot : state.slots)
    if (random.below(10) == 0) {
      if (slot.owner < shape.all_experts()) {
        state.slot_of[slot.owner] = kNoSlot;
        guesses += std::exchange(state.guessed[slot.owner], 0);
      }
      slot = {.owner = slot.owner == kRetiredSlot ? kFreeSlot : kRetiredSlot};
    }
  return guesses;
}

bool is_held(const ResolveShape& shape, std::uint32_t slot) {
  for (std::size_t c = 0; c < shape.slots_of_class.size(); ++c)
    if (slot >= shape.first_slot(c) && slot - shape.first_slot(c) < shape.held(c)) return true;
  return false;
}

void check_invariants(const ResolveShape& shape, const ResolveState& before,
                      const ResolveState& after) {
  for (std::uint32_t slot = 0; slot < after.slots.size(); ++slot) {
    const ExpertSlot& now = after.slots[slot];
    const ExpertSlot& then = before.slots[slot];
    if (then.owner == kRetiredSlot) RC_ASSERT(now == then);
    const bool was_used = then.owner < shape.all_experts() && then.last_use == before.step;
    if (was_used) RC_ASSERT(now == then);  // in this step, and so not given away
    if (is_held(shape, slot)) RC_ASSERT(now.owner == then.owner);
    if (now.owner >= shape.all_experts()) continue;
    RC_ASSERT(after.slot_of[now.owner] == slot);
    const std::uint32_t size_class = shape.class_of_layer[now.owner / shape.experts];
    RC_ASSERT(slot >= shape.first_slot(size_class));
    RC_ASSERT(slot < shape.first_slot(size_class + 1));
  }
  for (std::uint32_t expert = 0; expert < shape.all_experts(); ++expert)
    if (const std::uint32_t slot = after.slot_of[expert]; slot != kNoSlot)
      RC_ASSERT(after.slots[slot].owner == expert);
}

// A guess for a layer, right or wrong.
PrefetchInput random_guess(Random& random, const ResolveShape& shape, std::uint32_t layer) {
  PrefetchInput guess{.layer = layer,
                      .rows = 1 + below(random, 3),
                      .fetch_count = below(random, 4),
                      .limits = {below(random, 9), below(random, 4), below(random, 2)},
                      .most = below(random, 9)};
  for (std::uint32_t pair = 0; pair < guess.rows * shape.used; ++pair)
    guess.ids.push_back(static_cast<std::uint16_t>(below(random, shape.experts + 1)));
  return guess;
}

void check_guesses(const ResolveShape& shape, const PrefetchInput& guess,
                   const ResolveState& before, const PrefetchOutput& out,
                   const ResolveState& after) {
  const std::uint32_t limit =
      guess.limits[std::min<std::size_t>(guess.fetch_count, guess.limits.size() - 1)];
  RC_ASSERT(out.fetches.size() <= std::min(limit, guess.most));
  for (std::uint32_t slot = 0; slot < after.slots.size(); ++slot) {
    const ExpertSlot& then = before.slots[slot];
    if (after.slots[slot] == then) continue;
    RC_ASSERT(then.owner != kRetiredSlot);
    RC_ASSERT(after.slots[slot].last_use == before.step);
    RC_ASSERT(after.guessed[after.slots[slot].owner] == 1);
    if (then.owner == kFreeSlot) continue;
    RC_ASSERT(before.step - then.last_use >= 2);
    RC_ASSERT(then.owner / shape.experts != guess.layer);
  }
}

// What was prefetched was used, dropped, or has a slot still; but for what the host took away.
void check_counters(const ResolveState& state, std::uint64_t taken_away) {
  ExpertCounters all;
  for (const ExpertCounters& layer : state.counters) {
    all.prefetched += layer.prefetched;
    all.prefetches_used += layer.prefetches_used;
    all.prefetches_dropped += layer.prefetches_dropped;
  }
  std::uint64_t waiting = 0;
  for (std::uint32_t expert = 0; expert < state.guessed.size(); ++expert) {
    if (state.guessed[expert] == 0) continue;
    RC_ASSERT(state.slot_of[expert] != kNoSlot);
    ++waiting;
  }
  RC_ASSERT(all.prefetched == all.prefetches_used + all.prefetches_dropped + waiting + taken_away);
}

// Each pair has a result; what the jobs compute is what the pairs asked for.
void check_lists(const ResolveShape& shape, const ResolveInput& input, const ResolveOutput& out) {
  std::set<std::pair<std::uint32_t, std::uint32_t>> asked, computed;  // row, expert
  for (std::uint32_t pair = 0; pair < input.ids.size(); ++pair)
    if (input.ids[pair] < shape.experts) asked.emplace(pair / shape.used, input.ids[pair]);
  for (const auto& list : {out.hit_jobs(), out.fetched_jobs(), out.jobs_of_host()})
    for (const ExpectedJob& job : list) {
      RC_ASSERT(job.rows.size() <= kMostProductRows);
      for (const std::uint32_t row : job.rows) RC_ASSERT(computed.emplace(row, job.expert).second);
    }
  RC_ASSERT(computed == asked);
  RC_ASSERT(out.fetch_count <= shape.most_fetches);
}

// Layers of a few steps, each with a guess for the next.
TEST(Resolve, SequencesLeaveWhatTheSpecificationLeaves) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<std::uint64_t>());
    const ResolveShape shape = random_shape(random);
    ResolveState state(shape);
    state.step = random.below(2) == 0 ? 1 : 0xfffffffe;
    std::uint64_t taken_away = 0;
    for (std::uint32_t step = 0; step < 3; ++step) {
      for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
        const ResolveInput input = random_input(random, shape, layer);
        const ResolveState before = state;
        const ResolveOutput out = resolve(nullptr, shape, input, state);
        check_invariants(shape, before, state);
        check_lists(shape, input, out);
        const ResolveState resolved = state;
        const PrefetchInput guess = random_guess(random, shape, below(random, shape.layers));
        const PrefetchOutput guessed = prefetch(nullptr, shape, guess, state);
        check_invariants(shape, resolved, state);
        check_guesses(shape, guess, resolved, guessed, state);
        check_counters(state, taken_away);
        for (const TestDevice& on : test_devices()) {
          ResolveState found = before;
          RC_ASSERT(resolve(&on, shape, input, found) == out);
          RC_ASSERT(found == resolved);
          RC_ASSERT(prefetch(&on, shape, guess, found) == guessed);
          RC_ASSERT(found == state);
        }
      }
      taken_away += change_between_steps(random, shape, state);
    }
  }));
}

}  // namespace
}  // namespace hearth::kernels
