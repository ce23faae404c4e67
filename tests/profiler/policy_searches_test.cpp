// The searches that remember what they found, against ones that look at every expert each time.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <optional>
#include <set>

#include "profiler/policies/expected_waits.h"
#include "profiler/policies/layer_recency.h"
#include "tests/profiler/support/tier.h"

namespace hearth::profiler {
namespace {

using testing::make_config;
using testing::one_row;

// Words that say what to do next: route a layer, insert, remove, or search for an expert to go.
std::vector<std::uint32_t> any_words() {
  const auto length = *rc::gen::inRange<std::size_t>(0, 300);
  return *rc::gen::container<std::vector<std::uint32_t>>(
      length, rc::gen::inRange<std::uint32_t>(0, 1u << 30));
}

Residency::Config any_config() {
  const ExpertSpace space{*rc::gen::inRange<std::uint32_t>(1, 6),
                          *rc::gen::inRange<std::uint32_t>(1, 9)};
  const auto classes = *rc::gen::inRange<std::size_t>(1, 4);
  Residency::Config config = make_config(space, std::vector<std::uint32_t>(classes, 8));
  const auto mixed = *rc::gen::inRange<std::uint32_t>(0, 2 * space.size());
  if (mixed < space.size()) config.size_class_of[mixed] = 0;  // unlike the rest of its layer
  return config;
}

// Some experts are not to be found: leased ones, in an engine.
bool allowed(ExpertId id, std::uint32_t word) { return (id.index + word) % 3 != 0; }

TEST(ExpectedWaits, FindTheResidentThatWaitsLongest) {
  EXPECT_TRUE(rc::check([] {
    const Residency::Config config = any_config();
    const ExpertSpace space = config.space;
    ExpectedWaits waits({space, config.size_class_of, config.slots_of_class});
    LayerTurns turns(space.layers);
    std::vector<float> uses(space.size());
    std::set<std::uint32_t> residents;
    for (const std::uint32_t word : any_words()) {
      const std::uint32_t expert = word / 8 % space.size();
      const ExpertId id = space.id(expert);
      if (word % 8 == 0) {
        waits.on_routed(one_row(id.layer, {}));
        turns.on_routed(one_row(id.layer, {}));
        for (std::uint32_t index = 0; index < space.experts_per_layer; ++index) {
          const float rate = static_cast<float>((word >> 5) * (index + 1) % 5) / 4;
          uses[space.flat({id.layer, static_cast<std::uint16_t>(index)})] = rate;
          waits.uses(id.layer)[index] = rate;
        }
      } else if (word % 8 < 4) {
        if (residents.insert(expert).second) waits.insert(id);
      } else if (word % 8 == 4) {
        if (residents.erase(expert) > 0) waits.remove(id);
      }
      const std::uint8_t size_class = config.size_class_of[expert];
      std::optional<ExpertId> longest;
      float longest_wait = -1;
      for (const std::uint32_t resident : residents) {
        const ExpertId candidate = space.id(resident);
        if (config.size_class_of[resident] != size_class || !allowed(candidate, word)) continue;
        const auto layers = static_cast<float>(space.layers);
        const float wait = layers / std::max(uses[resident], 0x1p-20f) - layers +
                           static_cast<float>(turns.layers_until(candidate.layer));
        if (wait > longest_wait) longest = candidate, longest_wait = wait;
      }
      RC_ASSERT(waits.longest(size_class, [&](ExpertId other) { return allowed(other, word); }) ==
                longest);
    }
  }));
}

TEST(LayerRecency, FindsTheResidentOfTheHighestRank) {
  EXPECT_TRUE(rc::check([] {
    const Residency::Config config = any_config();
    const ExpertSpace space = config.space;
    LayerRecency recency({space, config.size_class_of, config.slots_of_class});
    std::vector<std::uint64_t> turns(space.layers);
    struct Use {
      std::uint64_t turn = 0, order = 0;
    };
    std::map<std::uint32_t, Use> residents;
    std::uint64_t order = 0;
    for (const std::uint32_t word : any_words()) {
      const std::uint32_t expert = word / 8 % space.size();
      const ExpertId id = space.id(expert);
      if (word % 8 < 2) {
        recency.on_routed(one_row(id.layer, {}));
        ++turns[id.layer];
      } else if (word % 8 < 6) {
        if (residents.erase(expert) > 0) recency.remove(id);
        recency.insert(id);
        residents[expert] = {turns[id.layer], ++order};
      } else if (residents.erase(expert) > 0) {
        recency.remove(id);
      }
      const std::uint8_t size_class = config.size_class_of[expert];
      const auto rank = [&](LayerIndex layer, std::uint64_t missed) {
        return missed * space.layers + (layer * 7 + word) % space.layers;
      };
      // By rank, then the lowest layer, then the one used longest ago.
      std::optional<ExpertId> highest;
      std::uint64_t best = 0, best_order = 0;
      for (const auto& [resident, use] : residents) {
        const ExpertId candidate = space.id(resident);
        if (config.size_class_of[resident] != size_class || !allowed(candidate, word)) continue;
        const std::uint64_t ranked = rank(candidate.layer, turns[candidate.layer] - use.turn);
        const bool same_layer = highest && highest->layer == candidate.layer;
        if (highest && (ranked < best || (ranked == best && !same_layer))) continue;
        if (same_layer && ranked == best && use.order > best_order) continue;
        highest = candidate, best = ranked, best_order = use.order;
      }
      RC_ASSERT(recency.highest(
                    size_class, [&](ExpertId other) { return allowed(other, word); }, rank) ==
                highest);
    }
  }));
}

}  // namespace
}  // namespace hearth::profiler
