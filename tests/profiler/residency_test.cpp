#include "profiler/residency.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <set>

#include "tests/profiler/support/tier.h"

namespace hearth::profiler {
namespace {

using testing::make_config;
using testing::make_residency;
using testing::one_row;

void observe(Residency& tier, ExpertId id) {
  const std::uint16_t row[] = {id.index};
  tier.observe(one_row(id.layer, row));
}

void fill(Residency& tier, ExpertId id, FillReason reason) {
  ASSERT_TRUE(tier.begin_fill(id, reason).has_value());
  tier.fill_done(id);
}

TEST(Residency, WalksFromAbsentOverFillingToReady) {
  Residency tier = make_residency("lru", make_config({2, 4}, {1, 2}));
  const ExpertId id{1, 3};
  EXPECT_EQ(tier.state(id), ExpertState::kAbsent);
  EXPECT_EQ(tier.slot(id), std::nullopt);
  EXPECT_EQ(tier.begin_fill(id, FillReason::kDemand), (SlotId{1, 0}));
  EXPECT_EQ(tier.state(id), ExpertState::kFilling);
  EXPECT_EQ(tier.slot(id), (SlotId{1, 0}));
  EXPECT_EQ(tier.resident(1), 0u);
  tier.fill_done(id);
  EXPECT_EQ(tier.state(id), ExpertState::kReady);
  EXPECT_EQ(tier.resident(1), 1u);
  EXPECT_EQ(tier.free_slots(1), 1u);
  EXPECT_EQ(tier.free_slots(0), 1u);
  EXPECT_EQ(tier.slots(1), 2u);
}

TEST(Residency, AFailedFillGivesItsSlotBack) {
  Residency tier = make_residency("lru", make_config({1, 4}, {1}));
  ASSERT_TRUE(tier.begin_fill({0, 0}, FillReason::kDemand));
  EXPECT_EQ(tier.begin_fill({0, 1}, FillReason::kDemand), std::nullopt);  // filling: no victim
  tier.fill_failed({0, 0});
  EXPECT_EQ(tier.state({0, 0}), ExpertState::kAbsent);
  EXPECT_EQ(tier.begin_fill({0, 1}, FillReason::kDemand), (SlotId{0, 0}));
  EXPECT_EQ(tier.counters().evictions, 0u);
}

TEST(Residency, EvictsAllButWhatIsLeasedOrFilling) {
  for (const std::string_view policy : policy_names()) {
    SCOPED_TRACE(policy);
    Residency tier = make_residency(policy, make_config({2, 4}, {3, 2}));
    fill(tier, {0, 0}, FillReason::kDemand);
    fill(tier, {0, 1}, FillReason::kDemand);
    fill(tier, {1, 3}, FillReason::kPrefetch);
    ASSERT_TRUE(tier.begin_fill({0, 2}, FillReason::kDemand));
    tier.lease({0, 1});
    tier.evict_all();
    EXPECT_EQ(tier.state({0, 0}), ExpertState::kAbsent);
    EXPECT_EQ(tier.state({0, 1}), ExpertState::kReady);
    EXPECT_EQ(tier.state({0, 2}), ExpertState::kFilling);
    EXPECT_EQ(tier.state({1, 3}), ExpertState::kAbsent);
    EXPECT_EQ(tier.resident(0), 1u);
    EXPECT_EQ(tier.resident(1), 0u);
    EXPECT_EQ(tier.free_slots(0), 1u);
    EXPECT_EQ(tier.free_slots(1), 2u);
    EXPECT_EQ(tier.counters().evictions, 0u);  // none for another
  }
}

TEST(Residency, ALeasedExpertIsNeverAVictim) {
  Residency tier = make_residency("lru", make_config({1, 4}, {2}));
  fill(tier, {0, 0}, FillReason::kDemand);
  fill(tier, {0, 1}, FillReason::kDemand);
  tier.lease({0, 0});
  tier.lease({0, 0});
  fill(tier, {0, 2}, FillReason::kDemand);
  EXPECT_EQ(tier.state({0, 1}), ExpertState::kAbsent);
  tier.lease({0, 2});
  EXPECT_EQ(tier.begin_fill({0, 3}, FillReason::kDemand), std::nullopt);
  tier.release({0, 0});
  EXPECT_EQ(tier.begin_fill({0, 3}, FillReason::kDemand), std::nullopt);
  tier.release({0, 0});
  EXPECT_EQ(tier.begin_fill({0, 3}, FillReason::kDemand), (SlotId{0, 0}));
}

TEST(Residency, APrefetchSparesWhatThisStepAndTheOneBeforeUsed) {
  Residency tier = make_residency("lru", make_config({1, 4}, {1}));
  tier.begin_step();
  observe(tier, {0, 0});
  fill(tier, {0, 0}, FillReason::kDemand);
  EXPECT_EQ(tier.begin_fill({0, 1}, FillReason::kPrefetch), std::nullopt);
  tier.begin_step();
  EXPECT_EQ(tier.begin_fill({0, 1}, FillReason::kPrefetch), std::nullopt);
  tier.begin_step();
  EXPECT_EQ(tier.begin_fill({0, 1}, FillReason::kPrefetch), (SlotId{0, 0}));
}

TEST(Residency, ASeedGivesWayToAPrefetch) {
  Residency tier = make_residency("lru", make_config({1, 4}, {1}));
  fill(tier, {0, 0}, FillReason::kSeed);
  EXPECT_TRUE(tier.begin_fill({0, 1}, FillReason::kPrefetch));
}

TEST(Residency, CountsEachExpertOncePerDecision) {
  Residency tier = make_residency("lru", make_config({2, 4}, {8}));
  fill(tier, {1, 0}, FillReason::kSeed);
  ASSERT_TRUE(tier.begin_fill({1, 1}, FillReason::kPrefetch));
  const std::uint16_t rows[] = {0, 1, 2, 0, 1, 3};
  tier.observe({1, 3, 2, rows, {}});
  tier.observe({1, 3, 2, rows, {}});
  EXPECT_EQ(tier.counters(1).hits, 4u);
  EXPECT_EQ(tier.counters(1).misses, 4u);
  EXPECT_EQ(tier.counters(1).prefetches, 1u);
  EXPECT_EQ(tier.counters(1).prefetches_used, 1u);
  EXPECT_EQ(tier.counters(0).hits, 0u);
  EXPECT_EQ(tier.counters().hits, 4u);
}

TEST(Residency, GivesSlotsUpAndTakesThemAgain) {
  for (const std::string_view policy : policy_names()) {
    SCOPED_TRACE(policy);
    Residency tier = make_residency(policy, make_config({1, 8}, {4}));
    for (std::uint16_t i = 0; i < 4; ++i) fill(tier, {0, i}, FillReason::kDemand);
    observe(tier, {0, 3});
    std::vector<std::pair<SlotId, SlotId>> moves;
    const auto note = [&](SlotId from, SlotId to) { moves.emplace_back(from, to); };
    tier.set_slots(0, 1, note);
    EXPECT_EQ(tier.slots(0), 1u);
    EXPECT_EQ(tier.resident(0), 1u);
    EXPECT_EQ(tier.state({0, 3}), ExpertState::kReady);  // the most recent, and the most used
    EXPECT_EQ(tier.slot({0, 3}), (SlotId{0, 0}));
    EXPECT_EQ(moves, (std::vector<std::pair<SlotId, SlotId>>{{{0, 3}, {0, 0}}}));
    EXPECT_EQ(tier.begin_fill({0, 5}, FillReason::kDemand), (SlotId{0, 0}));
    tier.fill_done({0, 5});
    tier.set_slots(0, 4, note);
    EXPECT_EQ(moves.size(), 1u);
    EXPECT_EQ(tier.free_slots(0), 3u);
    EXPECT_EQ(tier.begin_fill({0, 6}, FillReason::kDemand), (SlotId{0, 1}));
    EXPECT_EQ(tier.state({0, 5}), ExpertState::kReady);
    EXPECT_DEATH(tier.set_slots(0, 5, note), "slots");
    EXPECT_DEATH(tier.set_slots(0, 1, note), "is_ready|has_value");  // 6 is filling
  }
}

TEST(Residency, RefusesMisuse) {
  auto config = make_config({2, 4}, {2});
  config.size_class_of[1] = Residency::kNoClass;
  Residency tier = make_residency("lru", config);
  const std::uint16_t outside[] = {4};
  EXPECT_DEATH(tier.state({2, 0}), "contains");
  EXPECT_DEATH(tier.observe(one_row(0, outside)), "contains");
  EXPECT_DEATH(tier.begin_fill({0, 1}, FillReason::kDemand), "kNoClass");
  EXPECT_DEATH(tier.lease({0, 0}), "kAbsent");
  EXPECT_DEATH(tier.release({0, 0}), "leases");
  EXPECT_DEATH(tier.fill_done({0, 0}), "kFilling");
  ASSERT_TRUE(tier.begin_fill({0, 0}, FillReason::kDemand));
  EXPECT_DEATH(tier.begin_fill({0, 0}, FillReason::kDemand), "kAbsent");
  tier.lease({0, 0});
  EXPECT_DEATH(tier.fill_failed({0, 0}), "leases");
}

// The same tier in the plainest terms. It knows which victims are allowed, not which one is taken:
// that it learns by looking for who has gone.
class Model {
 public:
  Model(const Residency::Config& config, std::string_view policy)
      : config_(config), tier_(make_residency(policy, config)) {}

  // Does the operation that `word` encodes, if the state allows it, and compares.
  void apply(std::uint32_t word) {
    const std::uint32_t flat = word / 17 % config_.space.size();
    const ExpertId id = config_.space.id(flat);
    Entry& entry = entries_[flat];
    if (config_.size_class_of[flat] == Residency::kNoClass) return;
    switch (word % 17) {
      case 0:
        ++step_, tier_.begin_step();
        break;
      case 1:
      case 2:
      case 3:
        observe(id.layer, word);
        break;
      case 4:
      case 5:
      case 6:
        begin_fill(id, entry, FillReason::kDemand);
        break;
      case 7:
      case 8:
        begin_fill(id, entry, FillReason::kPrefetch);
        break;
      case 9:
        begin_fill(id, entry, FillReason::kSeed);
        break;
      case 10:
      case 11:
      case 12:
        if (entry.state == ExpertState::kFilling)
          tier_.fill_done(id), entry.state = ExpertState::kReady;
        break;
      case 13:
        if (entry.state == ExpertState::kFilling && entry.leases == 0)
          tier_.fill_failed(id), entry = {.used_in = entry.used_in};
        break;
      case 14:
        if (entry.state != ExpertState::kAbsent) tier_.lease(id), ++entry.leases;
        break;
      case 15:
        if (entry.leases > 0) tier_.release(id), --entry.leases;
        break;
      case 16:
        set_slots(config_.size_class_of[flat], word / 17);
        break;
    }
  }

  void compare() {
    std::map<SlotId, std::uint32_t> owners;
    std::vector<std::uint32_t> taken(config_.slots_of_class.size());
    std::vector<std::uint32_t> resident(config_.space.layers);
    for (std::uint32_t flat = 0; flat < config_.space.size(); ++flat) {
      const ExpertId id = config_.space.id(flat);
      const Entry& entry = entries_[flat];
      RC_ASSERT(tier_.state(id) == entry.state);
      RC_ASSERT(tier_.leases(id) == entry.leases);
      const auto slot = tier_.slot(id);
      RC_ASSERT(slot.has_value() == (entry.state != ExpertState::kAbsent));
      if (!slot) continue;
      RC_ASSERT(*slot == entry.slot);
      RC_ASSERT(slot->size_class == config_.size_class_of[flat]);
      RC_ASSERT(slot->index < slots_[slot->size_class]);
      RC_ASSERT(owners.emplace(*slot, flat).second);
      ++taken[slot->size_class];
      if (entry.state == ExpertState::kReady) ++resident[id.layer];
    }
    for (std::uint8_t i = 0; i < taken.size(); ++i) {
      RC_ASSERT(tier_.slots(i) == slots_[i]);
      RC_ASSERT(tier_.free_slots(i) == slots_[i] - taken[i]);
    }
    for (LayerIndex layer = 0; layer < resident.size(); ++layer)
      RC_ASSERT(tier_.resident(layer) == resident[layer]);
    compare_counters();
  }

 private:
  struct Entry {
    ExpertState state = ExpertState::kAbsent;
    SlotId slot{};
    std::uint32_t leases = 0;
    bool prefetched = false;
    std::optional<std::int64_t> used_in;
  };

  void observe(LayerIndex layer, std::uint32_t word) {
    std::vector<std::uint16_t> row;
    for (std::uint32_t i = 0; i < 1 + word / 16 % 4; ++i) {
      const auto index = static_cast<std::uint16_t>(word / 64 % (7 + i));
      const ExpertId id{layer, index};
      if (!config_.space.contains(id)) continue;
      if (config_.size_class_of[config_.space.flat(id)] == Residency::kNoClass) continue;
      row.push_back(index);
    }
    tier_.observe(one_row(layer, row));
    for (const std::uint16_t index : std::set<std::uint16_t>(row.begin(), row.end())) {
      Entry& entry = entries_[config_.space.flat({layer, index})];
      ResidencyCounters& counters = counters_[layer];
      entry.state == ExpertState::kAbsent ? ++counters.misses : ++counters.hits;
      if (entry.prefetched) ++counters.prefetches_used;
      entry.prefetched = false;
      entry.used_in = step_;
    }
  }

  bool may_go(std::uint32_t flat, std::uint8_t size_class, FillReason reason) {
    const Entry& entry = entries_[flat];
    const bool live = entry.used_in && *entry.used_in >= step_ - 1;
    return config_.size_class_of[flat] == size_class && entry.state == ExpertState::kReady &&
           entry.leases == 0 && !(live && reason == FillReason::kPrefetch);
  }

  void begin_fill(ExpertId id, Entry& entry, FillReason reason) {
    if (entry.state != ExpertState::kAbsent) return;
    const std::uint8_t size_class = config_.size_class_of[config_.space.flat(id)];
    const bool was_full = tier_.free_slots(size_class) == 0;
    std::vector<std::uint32_t> allowed;
    for (std::uint32_t flat = 0; flat < config_.space.size(); ++flat)
      if (may_go(flat, size_class, reason)) allowed.push_back(flat);

    const auto slot = tier_.begin_fill(id, reason);
    RC_ASSERT(slot.has_value() == (!was_full || !allowed.empty()));
    if (!slot) return;
    std::uint32_t gone = 0;
    for (const std::uint32_t flat : allowed) {
      if (tier_.state(config_.space.id(flat)) != ExpertState::kAbsent) continue;
      RC_ASSERT(entries_[flat].slot == *slot);
      entries_[flat] = {.used_in = entries_[flat].used_in};
      ++gone, ++counters_[config_.space.id(flat).layer].evictions;
    }
    RC_ASSERT(gone == (was_full ? 1u : 0u));
    const bool prefetch = reason == FillReason::kPrefetch;
    if (prefetch) ++counters_[id.layer].prefetches;
    entry = {ExpertState::kFilling, *slot, 0, prefetch,
             reason == FillReason::kSeed ? entry.used_in : step_};
  }

  // As few victims as have to go, and the others are found where they moved.
  void set_slots(std::uint8_t size_class, std::uint32_t word) {
    std::uint32_t present = 0;
    for (std::uint32_t flat = 0; flat < entries_.size(); ++flat) {
      if (config_.size_class_of[flat] != size_class) continue;
      if (entries_[flat].state == ExpertState::kFilling || entries_[flat].leases > 0) return;
      present += entries_[flat].state == ExpertState::kReady ? 1 : 0;
    }
    const std::uint32_t slots = word % (config_.slots_of_class[size_class] + 1);
    std::map<SlotId, SlotId> moved;
    tier_.set_slots(size_class, slots, [&](SlotId from, SlotId to) {
      RC_ASSERT(from.index >= slots && to.index < slots);
      RC_ASSERT(moved.emplace(from, to).second);
    });
    slots_[size_class] = slots;
    std::uint32_t gone = 0;
    for (std::uint32_t flat = 0; flat < entries_.size(); ++flat) {
      Entry& entry = entries_[flat];
      if (config_.size_class_of[flat] != size_class || entry.state == ExpertState::kAbsent)
        continue;
      if (tier_.state(config_.space.id(flat)) == ExpertState::kAbsent)
        entry = {.used_in = entry.used_in}, ++gone;
      else if (const auto to = moved.find(entry.slot); to != moved.end())
        entry.slot = to->second;
    }
    RC_ASSERT(gone == present - std::min(present, slots));
  }

  void compare_counters() {
    ResidencyCounters total;
    const auto same = [](const ResidencyCounters& a, const ResidencyCounters& b) {
      return a.hits == b.hits && a.misses == b.misses && a.evictions == b.evictions &&
             a.prefetches == b.prefetches && a.prefetches_used == b.prefetches_used;
    };
    for (LayerIndex layer = 0; layer < counters_.size(); ++layer) {
      RC_ASSERT(same(tier_.counters(layer), counters_[layer]));
      total.hits += counters_[layer].hits, total.misses += counters_[layer].misses;
      total.evictions += counters_[layer].evictions;
      total.prefetches += counters_[layer].prefetches;
      total.prefetches_used += counters_[layer].prefetches_used;
    }
    RC_ASSERT(same(tier_.counters(), total));
  }

  const Residency::Config config_;
  Residency tier_;
  std::vector<std::uint32_t> slots_ = config_.slots_of_class;
  std::vector<Entry> entries_ = std::vector<Entry>(config_.space.size());
  std::vector<ResidencyCounters> counters_ = std::vector<ResidencyCounters>(config_.space.layers);
  std::int64_t step_ = 0;
};

TEST(Residency, AgreesWithThePlainModelUnderAnySequence) {
  for (const std::string_view policy : policy_names())
    EXPECT_TRUE(rc::check(std::string(policy), [&] {
      const auto classes = *rc::gen::inRange<std::size_t>(1, 4);
      const ExpertSpace space{*rc::gen::inRange<std::uint32_t>(1, 6),
                              *rc::gen::inRange<std::uint32_t>(1, 9)};
      auto config = make_config(space, *rc::gen::container<std::vector<std::uint32_t>>(
                                           classes, rc::gen::inRange<std::uint32_t>(0, 6)));
      const auto hole = *rc::gen::inRange<std::uint32_t>(0, 2 * space.size());
      if (hole < space.size()) config.size_class_of[hole] = Residency::kNoClass;
      Model model(config, policy);
      const auto length = *rc::gen::inRange<std::size_t>(0, 400);
      for (const std::uint32_t word : *rc::gen::container<std::vector<std::uint32_t>>(
               length, rc::gen::inRange<std::uint32_t>(0, 1u << 30))) {
        model.apply(word);
        model.compare();
      }
    }));
}

}  // namespace
}  // namespace hearth::profiler
