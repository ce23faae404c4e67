#include "tools/hearth/nearest_name.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

namespace hearth::tools {
namespace {

TEST(NearestName, DistanceCountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("inspect", "insepct"), 1u);  // a swap is one edit
  EXPECT_EQ(edit_distance("--model", "--modle"), 1u);
}

TEST(NearestName, DistanceIsAMetricOnSmallStrings) {
  EXPECT_TRUE(rc::check([] {
    const auto text = rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab-")));
    const std::string a = *text, b = *text;
    const std::size_t distance = edit_distance(a, b);
    RC_ASSERT(distance == edit_distance(b, a));
    RC_ASSERT((distance == 0) == (a == b));
    RC_ASSERT(distance <= std::max(a.size(), b.size()));
    RC_ASSERT(distance >= std::max(a.size(), b.size()) - std::min(a.size(), b.size()));
  }));
}

TEST(NearestName, OnlyWhatWasProbablyMeant) {
  const std::vector<std::string> names = {"--model", "--mmap", "--ctx-size", "--threads"};
  EXPECT_EQ(nearest_name("--modell", names), "--model");
  EXPECT_EQ(nearest_name("--thread", names), "--threads");
  EXPECT_EQ(nearest_name("--ctx", names), "--ctx-size");  // a beginning, though three edits away
  EXPECT_EQ(nearest_name("--banana", names), "");
  EXPECT_EQ(nearest_name("--", names), "");
}

}  // namespace
}  // namespace hearth::tools
