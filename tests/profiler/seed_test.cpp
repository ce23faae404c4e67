#include "profiler/seed.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

#include "profiler/residency.h"

namespace hearth::profiler {
namespace {

constexpr std::uint8_t kNone = Residency::kNoClass;

TEST(Seed, TakesTheMostPopularOfEachClass) {
  // Layer 0 is of class 0, layer 1 of class 1 and has three experts only.
  const std::vector<float> popularity{.3f, .1f, .4f, .2f, .9f, 0, .5f, .7f};
  const std::vector<std::uint8_t> classes{0, 0, 0, 0, 1, 1, 1, kNone};
  const std::vector<std::uint32_t> slots{2, 3};
  const auto seed = choose_seed({{2, 4}, popularity, classes, slots});
  // The expert without a size does not exist, and the one never used is not worth a read.
  EXPECT_EQ(seed, (std::vector<ExpertId>{{1, 0}, {1, 2}, {0, 2}, {0, 0}}));
}

TEST(Seed, OfEqualsTakesTheLowerNumber) {
  const std::vector<float> popularity{.5f, .5f, .5f, .5f};
  const std::vector<std::uint8_t> classes(4, 0);
  const std::vector<std::uint32_t> slots{2};
  EXPECT_EQ(choose_seed({{1, 4}, popularity, classes, slots}),
            (std::vector<ExpertId>{{0, 0}, {0, 1}}));
}

void no_better_seed_exists() {
  const ExpertSpace space{*rc::gen::inRange<std::uint32_t>(1, 5),
                          *rc::gen::inRange<std::uint32_t>(1, 9)};
  const auto slots = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(0, 12)));
  std::vector<float> popularity;
  std::vector<std::uint8_t> classes;
  for (std::uint32_t expert = 0; expert < space.size(); ++expert) {
    popularity.push_back(static_cast<float>(*rc::gen::inRange(0, 6)) / 4);
    classes.push_back(static_cast<std::uint8_t>(*rc::gen::inRange<std::size_t>(0, slots.size())));
    if (*rc::gen::inRange(0, 8) == 0) classes.back() = kNone;
  }
  const auto seed = choose_seed({space, popularity, classes, slots});
  const auto popularity_of = [&](ExpertId id) { return popularity[space.flat(id)]; };
  RC_ASSERT(std::ranges::is_sorted(seed, std::greater<>(), popularity_of));
  const std::set<ExpertId> chosen(seed.begin(), seed.end());
  RC_ASSERT(chosen.size() == seed.size());
  for (std::size_t size_class = 0; size_class < slots.size(); ++size_class) {
    std::uint32_t taken = 0, wanted = 0;
    float least_taken = 1e9f, most_left = 0;
    for (std::uint32_t expert = 0; expert < space.size(); ++expert) {
      if (classes[expert] != size_class) continue;
      wanted += popularity[expert] > 0 ? 1 : 0;
      if (chosen.contains(space.id(expert)))
        ++taken, least_taken = std::min(least_taken, popularity[expert]);
      else
        most_left = std::max(most_left, popularity[expert]);
    }
    RC_ASSERT(taken == std::min(wanted, slots[size_class]));
    RC_ASSERT(least_taken >= most_left);
  }
}

TEST(Seed, NoBetterOneExists) { EXPECT_TRUE(rc::check(no_better_seed_exists)); }

}  // namespace
}  // namespace hearth::profiler
