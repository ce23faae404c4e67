// Merging profiles: nothing is lost that adds up, and what does not is said.
#include "profiler/profile_merge.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>

#include "base/error.h"
#include "profiler/profile_toml.h"
#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

using testing::empty_test_profile;
using testing::random_profile;

ExpertProfile merged(const ExpertProfile& first, const ExpertProfile& second) {
  return merge_profiles(std::vector<NamedProfile>{{"a", first}, {"b", second}}).profile;
}

TEST(ProfileMerge, AddsCountsAndKeepsWorkloadsByLabel) {
  const ExpertProfile chat = random_profile(1, "chat", 100), code = random_profile(2, "code", 300);
  const ExpertProfile more = random_profile(3, "chat", 50);
  const MergedProfile all =
      merge_profiles(std::vector<NamedProfile>{{"a", chat}, {"b", code}, {"c", more}});
  EXPECT_TRUE(all.notes.empty());
  const std::vector<Workload> expected = {
      {"chat", 150, chat.workloads[0].generated + more.workloads[0].generated}, code.workloads[0]};
  EXPECT_EQ(all.profile.workloads, expected);
  for (std::size_t nth = 0; nth < chat.layers.size(); ++nth) {
    for (std::size_t i = 0; i < chat.layers[nth].experts.size(); ++i)
      EXPECT_EQ(all.profile.layers[nth].experts[i].count, chat.layers[nth].experts[i].count +
                                                              code.layers[nth].experts[i].count +
                                                              more.layers[nth].experts[i].count);
    for (std::size_t i = 0; i < kReuseBuckets; ++i)
      EXPECT_EQ(all.profile.layers[nth].reuse[i],
                chat.layers[nth].reuse[i] + code.layers[nth].reuse[i] + more.layers[nth].reuse[i]);
  }
}

TEST(ProfileMerge, TheOrderDoesNotMatterAndTheResultIsAProfile) {
  EXPECT_TRUE(rc::check("profile_merge", [] {
    const ExpertProfile a = random_profile(*rc::gen::arbitrary<std::uint64_t>(), "chat");
    const ExpertProfile b = random_profile(*rc::gen::arbitrary<std::uint64_t>(), "chat",
                                           *rc::gen::inRange<std::uint32_t>(2, 400));
    RC_ASSERT(merged(a, b) == merged(b, a));
    RC_ASSERT(parse_profile(to_toml(merged(a, b)), "merged") == merged(a, b));
  }));
}

TEST(ProfileMerge, WithAnEmptyOneChangesNothing) {
  ExpertProfile profile = random_profile(1);
  profile.curves = {{"lru", {{0.5, 0.75}}}};
  profile.replayed_tokens = 99;
  EXPECT_EQ(merged(profile, empty_test_profile()), profile);
  EXPECT_EQ(merged(empty_test_profile(), profile), profile);
}

TEST(ProfileMerge, PartnersOfBothAreRankedTogether) {
  ExpertProfile first = empty_test_profile(), second = first;
  first.workloads = second.workloads = {{"chat", 100, 100}};
  first.layers[0].experts[0] = {
      .count = 50, .recent = 50, .partners = {{{1, 10}, {2, 9}, {3, 8}, {4, 7}}}};
  second.layers[0].experts[0] = {.count = 50, .recent = 25, .partners = {{{5, 20}, {4, 6}}}};
  const ExpertHistory both = merged(first, second).layers[0].experts[0];
  const std::array<Partner, kPartners> expected = {{{5, 20}, {4, 13}, {1, 10}, {2, 9}}};
  EXPECT_EQ(both.partners, expected);
  EXPECT_EQ(both.recent, 75);
}

TEST(ProfileMerge, SaysThatHitRatesAreGone) {
  ExpertProfile first = random_profile(1);
  first.curves = {{"lru", {{0.5, 0.75}}}};
  first.replayed_tokens = 99;
  const MergedProfile both =
      merge_profiles(std::vector<NamedProfile>{{"a.toml", first}, {"b.toml", random_profile(2)}});
  EXPECT_TRUE(both.profile.curves.empty());
  EXPECT_EQ(both.profile.replayed_tokens, 0u);
  ASSERT_EQ(both.notes.size(), 1u);
  EXPECT_NE(both.notes[0].find("a.toml"), std::string::npos);
}

TEST(ProfileMerge, RefusesAnotherModelAndTooManyTokens) {
  const ExpertProfile profile = random_profile(1);
  ExpertProfile other = profile;
  other.model.name = "Other";
  EXPECT_THROW(merged(profile, other), Error);
  other = profile;
  other.layers.pop_back();
  EXPECT_THROW(merged(profile, other), Error);
  other = profile;
  other.workloads[0].tokens = kMostTokens - profile.tokens() + 1;
  EXPECT_THROW(merged(profile, other), Error);
  other.workloads[0].tokens = kMostTokens - profile.tokens();
  EXPECT_EQ(merged(profile, other).tokens(), kMostTokens);
  EXPECT_THROW(merge_profiles({}), Error);
}

}  // namespace
}  // namespace hearth::profiler
