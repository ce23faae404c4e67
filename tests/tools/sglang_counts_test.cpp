// Counts in the form of SGLang: there and back, and refused where they do not fit.
#include "tools/hearth/sglang_counts.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "tests/profiler/support/profiles.h"

namespace hearth::tools {
namespace {

using profiler::ExpertProfile;
using profiler::testing::empty_test_profile;
using profiler::testing::random_profile;

ExpertProfile import(std::string_view text) {
  return import_sglang_json(text, "counts.json", empty_test_profile(), "imported");
}

std::string refusal(std::string_view text) {
  try {
    import(text);
    return "";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("counts.json: ")) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
}

TEST(SglangCounts, AreSamplesOfBlocksOfExperts) {
  const ExpertProfile profile = random_profile(1);
  const auto json = nlohmann::json::parse(sglang_json(profile));
  ASSERT_EQ(json["logical_count"].size(), 1u);
  EXPECT_EQ(json["logical_count"][0].get<profiler::CountTable>(), counts_of(profile));
}

TEST(SglangCounts, AreReadBack) {
  const ExpertProfile profile = random_profile(1);
  const ExpertProfile found = import(sglang_json(profile));
  EXPECT_EQ(counts_of(found), counts_of(profile));
  EXPECT_EQ(found.workloads[0], (profiler::Workload{"imported", profile.tokens(), 0}));
}

TEST(SglangCounts, MayHaveTwoDimensionsOrSeveralSamples) {
  const std::string rows =
      "[[1,2,3,4,5,6,7,8],[0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,9],[1,1,1,1,1,1,0,0]]";
  const ExpertProfile once = import("{\"logical_count\": " + rows + "}");
  EXPECT_EQ(once.layer(0)->experts[7].count, 8u);
  const ExpertProfile twice =
      import("{\"rank\": 0, \"logical_count\": [" + rows + "," + rows + "]}");
  EXPECT_EQ(twice.layer(0)->experts[7].count, 16u);
  EXPECT_EQ(twice.layer(2)->experts[7].count, 18u);
}

TEST(SglangCounts, ThatDoNotFitAreRefused) {
  const auto of = [](const std::string& counts) { return "{\"logical_count\": " + counts + "}"; };
  for (const std::string& text :
       {std::string(),
        std::string("{"),
        std::string("[]"),
        std::string("{}"),
        of("3"),
        of("[]"),
        of("[3]"),
        of("[[]]"),
        of("[[[]]]"),
        of("[[[[1]]]]"),
        of("[[1.5]]"),
        of("[[-1]]"),
        of("[[\"1\"]]"),
        of("[[1,2],[3]]"),
        of("[[[1,2]],[[1]]]"),
        of("[[[1]],[[1],[2]]]"),
        of("[[1099511627777]]"),
        of("[[[1099511627776]],[[1]]]"),
        of("[[1,2,3,4,5,6,7,8]]"),                                      // one layer of four
        of("[[0],[0],[0],[0]]"),                                        // one expert of eight
        of("[[1,1,1,1,1,1,1,1],[1],[1,1,1,1,1,1,1,1],[1,1,1,1,1,1]]"),  // block 1 has none
        of("[[0,0,0,0,0,0,0,0],[0],[0,0,0,0,0,0,0,0],[0,0,0,0,0,0]]"),
        std::string(100'000, '[')})
    EXPECT_NE(refusal(text), "") << text.substr(0, 100);
}

}  // namespace
}  // namespace hearth::tools
