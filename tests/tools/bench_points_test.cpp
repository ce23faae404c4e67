#include "tools/hearth/bench_points.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hearth::tools {
namespace {

std::vector<std::string> names(const BenchLists& lists) {
  std::vector<std::string> result;
  for (const BenchPoint& point : bench_points(lists)) result.push_back(point.name());
  return result;
}

using Names = std::vector<std::string>;

TEST(BenchPoints, AreThoseOfLlamaBenchByDefault) {
  EXPECT_EQ(names({}), (Names{"pp512", "tg128"}));
}

TEST(BenchPoints, CombineListsWithEveryDepth) {
  EXPECT_EQ(names({.prompts = "16,32", .generations = "0", .depths = "0,64", .pairs = {"8,4"}}),
            (Names{"pp16", "pp32", "pp8+tg4", "pp16 @ d64", "pp32 @ d64", "pp8+tg4 @ d64"}));
}

TEST(BenchPoints, CountThePositionsTheyNeed) {
  const auto points =
      bench_points({.prompts = "16", .generations = "4", .depths = "100", .pairs = {"16,8"}});
  EXPECT_EQ(longest(points), 124u);
}

TEST(BenchPoints, RefuseWhatIsNoList) {
  for (const BenchLists& lists : {BenchLists{.prompts = "16,"}, BenchLists{.prompts = "many"},
                                  BenchLists{.prompts = "0", .generations = "0"},
                                  BenchLists{.pairs = {"512"}}, BenchLists{.depths = "-1"}}) {
    try {
      bench_points(lists);
      ADD_FAILURE() << lists.prompts << ' ' << lists.generations << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
    }
  }
}

}  // namespace
}  // namespace hearth::tools
