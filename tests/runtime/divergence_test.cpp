// Divergence from a base run, and the files of log-probabilities it is computed from.
#include "runtime/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "runtime/log_probs.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::runtime {
namespace {

std::vector<float> log_probs(std::span<const float> logits) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  std::vector<float> result;
  for (const float logit : logits) result.push_back(static_cast<float>(logit - std::log(sum)));
  return result;
}

TEST(Divergence, IsThatOfTwoKnownDistributions) {
  // 1/2, 1/4, 1/4 against 1/4, 1/2, 1/4: ln 2 (1/2 - 1/4).
  const std::vector<float> base{std::log(0.5f), std::log(0.25f), std::log(0.25f)};
  const std::vector<float> logits{10 + std::log(0.25f), 10 + std::log(0.5f), 10 + std::log(0.25f)};
  Divergence divergence;
  divergence.add(base, logits, 0);
  EXPECT_NEAR(divergence.mean(), std::log(2.0) / 4, 1e-6);
  EXPECT_EQ(divergence.same_top(), 0);
  EXPECT_NEAR(divergence.mean_probability_change(), -0.25, 1e-6);
  EXPECT_NEAR(divergence.base().value(), 2, 1e-6);
  EXPECT_NEAR(divergence.run().value(), 4, 1e-5);

  divergence.add(base, base, 1);
  EXPECT_NEAR(divergence.percentile(0), 0, 1e-7);
  EXPECT_NEAR(divergence.percentile(1), std::log(2.0) / 4, 1e-6);
  EXPECT_NEAR(divergence.percentile(0.5), std::log(2.0) / 8, 1e-6);
  EXPECT_EQ(divergence.same_top(), 0.5);
  EXPECT_NEAR(divergence.standard_error(), std::log(2.0) / 8, 1e-6);  // of two values
}

class LogProbsFile : public ::testing::Test {
 protected:
  const io::TemporaryDirectory directory_;  // its own: tests run beside one another
  const std::string path_ = directory_.file("log_probs.bin");
  const LogProbsHeader header_{
      .context = 8, .vocabulary = 5, .tokens = std::vector<TokenId>(16, 3)};

  std::vector<std::vector<float>> write() {
    Random random(11);
    std::vector<std::vector<float>> rows;
    LogProbsWriter writer(path_, header_);
    for (std::uint32_t i = 0; i < 2 * header_.rows_per_chunk(); ++i) {
      std::vector<float> row(header_.vocabulary);
      for (float& logit : row) logit = static_cast<float>(4 * random.normal());
      writer.add(row);
      rows.push_back(row);
    }
    writer.finish();
    return rows;
  }

  void expect_refused() {
    try {
      LogProbsReader reader(path_);
      FAIL() << "a damaged file was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    }
  }
};

TEST_F(LogProbsFile, GivesBackWhatWasWritten) {
  const auto rows = write();
  LogProbsReader reader(path_);
  EXPECT_EQ(reader.header().tokens, header_.tokens);
  for (const auto& row : rows) {
    const std::vector<float> expected = log_probs(row);
    const auto found = reader.next();
    // Half a step of the 65535 over the range of a row, and the rounding of its ends.
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(found[i], expected[i], 16.0 / 65535 / 2 + 1e-5);
  }
}

TEST_F(LogProbsFile, EqualLogitsAreEquallyLikely) {
  LogProbsHeader header = header_;
  header.context = 4;
  header.tokens.resize(4);
  LogProbsWriter writer(path_, header);
  writer.add(std::vector<float>(5, 7.0f));
  writer.finish();
  LogProbsReader reader(path_);
  for (const float value : reader.next()) EXPECT_NEAR(value, std::log(0.2), 1e-6);
}

TEST_F(LogProbsFile, HalfAFileReplacesNothing) {
  write();
  const auto size = std::filesystem::file_size(path_);
  {
    LogProbsWriter(path_, header_).add(std::vector<float>(header_.vocabulary, 1.0f));
  }
  EXPECT_EQ(std::filesystem::file_size(path_), size);
  EXPECT_EQ(LogProbsReader(path_).header().tokens, header_.tokens);
}

TEST_F(LogProbsFile, IsRefusedWhenCutOrForged) {
  write();
  const auto size = std::filesystem::file_size(path_);
  for (std::uintmax_t cut = size; cut-- > 0;) {
    std::filesystem::resize_file(path_, cut);
    expect_refused();
  }
  for (const std::size_t field : {8u, 12u, 16u}) {  // context, vocabulary, chunks
    write();
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(field));
    file.write("\xff\xff\xff\x7f", 4);
    file.close();
    expect_refused();
  }
}

}  // namespace
}  // namespace hearth::runtime
