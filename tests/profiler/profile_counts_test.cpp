// Counts as other programs keep them: there and back, and refused where they do not fit.
#include "profiler/profile_counts.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "profiler/profile_toml.h"
#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

using testing::empty_test_profile;
using testing::random_profile;

using Import = ExpertProfile (*)(std::string_view, const std::string&, ExpertProfile,
                                 const std::string&);

// The line that refuses the text, empty if it is taken.
std::string refusal(Import import, std::string_view text) {
  try {
    import(text, "counts.csv", empty_test_profile(), "imported");
    return "";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("counts.csv: ")) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
}

void expect_counts_of(const ExpertProfile& found, const ExpertProfile& expected) {
  EXPECT_EQ(counts_of(found), counts_of(expected));
  ASSERT_EQ(found.workloads.size(), 1u);
  EXPECT_EQ(found.workloads[0], (Workload{"imported", expected.tokens(), 0}));
  EXPECT_EQ(found.layers[1].experts[3].recent,
            static_cast<double>(expected.layers[1].experts[3].count));
  EXPECT_EQ(parse_profile(to_toml(found), "p.toml"), found);
}

TEST(ProfileCounts, HaveARowPerBlock) {
  const CountTable counts = counts_of(random_profile(1));
  ASSERT_EQ(counts.size(), 4u);
  for (const auto& row : counts) EXPECT_EQ(row.size(), 8u);
  EXPECT_EQ(counts[1], (std::vector<std::uint64_t>(8)));
  EXPECT_EQ(counts[3][7], 0u);  // the last block has six experts
}

TEST(ProfileCounts, CsvIsReadBack) {
  const ExpertProfile profile = random_profile(1);
  const std::string text = counts_csv(profile);
  EXPECT_TRUE(text.starts_with("layer,expert,count\n0,0,"));
  expect_counts_of(import_counts_csv(text, "counts.csv", empty_test_profile(), "imported"),
                   profile);
}

TEST(ProfileCounts, CsvNeedsNoZerosAndNoOrder) {
  const ExpertProfile profile = import_counts_csv("layer,expert,count\r\n3,5,7\r\n0,1,9\n",
                                                  "counts.csv", empty_test_profile(), "imported");
  EXPECT_EQ(profile.layer(3)->experts[5].count, 7u);
  EXPECT_EQ(profile.layer(0)->experts[1].count, 9u);
  EXPECT_EQ(profile.tokens(), 9u);  // at least: one token chooses an expert once
}

TEST(ProfileCounts, CsvThatDoesNotFitIsRefused) {
  const std::string head = "layer,expert,count\n0,0,5\n";
  EXPECT_EQ(refusal(import_counts_csv, head), "");
  for (const char* line :
       {"0,1", "0,1,2,3", "a,1,2", "0,1,-2", "0,1,2.5", "0,1,", "0,1,2,", ",1,2", "0;1;2", "0,0,6",
        "4,0,1", "0,8,1", "1,0,1", "3,6,1", "", "0,1,99999999999999999999", "0,1,1099511627777"})
    EXPECT_NE(refusal(import_counts_csv, head + line + "\n"), "") << line;
  EXPECT_NE(refusal(import_counts_csv, ""), "");
  EXPECT_NE(refusal(import_counts_csv, "0,0,5\n"), "");
  EXPECT_NE(refusal(import_counts_csv, "layer,expert,count\n"), "");  // nothing counted
  EXPECT_NE(refusal(import_counts_csv, head + "0,1\n").find("line 3"), std::string::npos);
}

TEST(ProfileCounts, SparkIsReadBack) {
  const ExpertProfile profile = random_profile(2);
  const std::string text = spark_csv(profile);
  EXPECT_TRUE(text.starts_with("# hotness table: n_layer=4 n_expert=8 n_expert_used=2\n# format:"));
  expect_counts_of(import_spark_csv(text, "counts.csv", empty_test_profile(), "imported"), profile);
}

TEST(ProfileCounts, SparkMayHaveBlanksAndOnlyLayersWithExperts) {
  const ExpertProfile profile =
      import_spark_csv("1 2 3 4 5 6 7 8\n1,2,\t3, 4,5,6,7,8 \n1,2,3,4,5,6", "counts.csv",
                       empty_test_profile(), "imported");
  EXPECT_EQ(profile.layer(2)->experts[3].count, 4u);
  EXPECT_EQ(profile.layer(3)->experts[5].count, 6u);
  EXPECT_EQ(profile.tokens(), 18u);  // 36 uses, two by each token
}

TEST(ProfileCounts, SparkThatDoesNotFitIsRefused) {
  const std::string row = "1,2,3,4,5,6,7,8\n", none = "0,0,0,0,0,0,0,0\n";
  EXPECT_EQ(refusal(import_spark_csv, row + none + row + "1,2,3,4,5,6,0,0\n"), "");
  EXPECT_NE(refusal(import_spark_csv, row + none + row + row), "");  // the last has six experts
  EXPECT_NE(refusal(import_spark_csv, row + row + row + "1,2,3,4,5,6\n"), "");  // block 1 has none
  EXPECT_NE(refusal(import_spark_csv, row + row), "");
  EXPECT_NE(refusal(import_spark_csv, row + "1,2,3\n" + row), "");
  EXPECT_NE(refusal(import_spark_csv, row + "1,,3\n" + row), "");
  EXPECT_NE(refusal(import_spark_csv, row + "1,2,3,4,5,6,7,8,9\n" + row), "");
  EXPECT_NE(refusal(import_spark_csv, none + none + none), "");
  EXPECT_NE(refusal(import_spark_csv, ""), "");
}

}  // namespace
}  // namespace hearth::profiler
