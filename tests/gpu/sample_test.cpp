// The best candidates of rows of logits, in the order of the sampler of the CPU.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

struct SampleCase {
  std::uint32_t rows = 1, vocabulary = 1000, count = 1;
  float softcap = 0;
};

// The order of runtime/sampler.
std::vector<Candidate> best_of(std::span<const float> logits, std::uint32_t count) {
  std::vector<Candidate> all;
  for (std::size_t i = 0; i < logits.size(); ++i)
    all.push_back({logits[i], static_cast<TokenId>(i)});
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const std::size_t sorted = std::min<std::size_t>(count, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(sorted), all.end(),
                    better);
  all.resize(count);  // those that there are none of have id -1
  return all;
}

class Sampled {
 public:
  Sampled(const TestDevice& on, const SampleCase& c, const std::vector<float>& rows)
      : logits_(on, rows),
        chosen_(on, std::size_t{c.rows} * c.count),
        scratch_(on, sample_scratch(c.rows, c.vocabulary, c.count)) {
    on.kernels->sample({.rows = c.rows,
                        .vocabulary = c.vocabulary,
                        .logits = logits_.data(),
                        .stride = c.vocabulary + 5,
                        .softcap = c.softcap,
                        .count = c.count,
                        .chosen = chosen_.data(),
                        .scratch = scratch_.data()},
                       on.stream->native());
  }
  std::vector<float> logits() const { return logits_.values(); }
  std::vector<Candidate> chosen() const { return chosen_.values(); }

 private:
  DeviceArray<float> logits_;
  DeviceArray<Candidate> chosen_, scratch_;
};

void expect_same(const SampleCase& c, const std::vector<float>& rows,
                 std::span<const TestDevice> devices = test_devices()) {
  const std::uint32_t stride = c.vocabulary + 5;
  std::vector<float> capped = rows;
  std::vector<Candidate> expected;
  for (std::uint32_t row = 0; row < c.rows; ++row) {
    float* const logits = &capped[std::size_t{row} * stride];
    if (c.softcap > 0) scalar_table().softcap(logits, c.vocabulary, c.softcap);
    for (const Candidate& best : best_of({logits, c.vocabulary}, c.count)) expected.push_back(best);
  }
  for (const TestDevice& on : devices) {
    const Sampled sampled(on, c, rows);
    const std::string where = fmt::format("{}: {} of {}", on.name, c.count, c.vocabulary);
    expect_same_bits(capped, sampled.logits(), where);
    const std::vector<Candidate> found = sampled.chosen();
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].id, expected[i].id) << where << ", candidate " << i;
      expect_same_bits({&expected[i].logit, 1}, {&found[i].logit, 1}, where);
    }
  }
}

std::vector<float> random_rows(const SampleCase& c, Random& random) {
  return normal_floats(random, std::size_t{c.rows} * (c.vocabulary + 5), 5);
}

TEST(GpuSample, CandidatesOfEverySize) {
  Random random(8);
  for (const std::uint32_t vocabulary :
       {1u, 63u, 64u, 255u, kSampleSpan - 1, kSampleSpan, kSampleSpan + 1, 12345u})
    for (const std::uint32_t count : {1u, 40u, kMostCandidates}) {
      const SampleCase c{.rows = count == 1 ? 2u : 1u, .vocabulary = vocabulary, .count = count};
      expect_same(c, random_rows(c, random));
    }
  expect_same({.rows = 0}, {});
}

// More spans than one block takes the candidates of. One device is enough: levels know no lanes.
TEST(GpuSample, MoreThanTwoLevels) {
  Random random(9);
  const SampleCase c{.vocabulary = (kSampleSpan / kMostCandidates + 1) * kSampleSpan,
                     .count = kMostCandidates};
  expect_same(c, random_rows(c, random), std::span(test_devices()).last(1));
}

TEST(GpuSample, TheSmallerIdAmongEquals) {
  Random random(10);
  SampleCase c{.rows = 3, .vocabulary = 9000, .count = kMostCandidates};
  std::vector<float> rows = random_rows(c, random);
  for (float& logit : rows) logit = std::round(logit / 4) * 4;  // -0 among them
  expect_same(c, rows);
  c.count = 1;
  expect_same(c, rows);
  expect_same(c, std::vector<float>(rows.size(), -1.0f));
}

// So far out that many become the cap itself.
TEST(GpuSample, CappedLogits) {
  Random random(11);
  const SampleCase c{.rows = 2, .vocabulary = 5000, .count = 20, .softcap = 0.5f};
  expect_same(c, random_rows(c, random));
}

TEST(GpuSample, ARowWithALogitThatIsNotFiniteSaysSo) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Random random(12);
  for (const float softcap : {0.0f, 30.0f})
    for (const float damaged : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      const SampleCase c{.rows = 2, .vocabulary = 5000, .count = 3, .softcap = softcap};
      std::vector<float> rows = random_rows(c, random);
      rows[c.vocabulary - 1] = damaged;  // of the first row
      for (const TestDevice& on : test_devices()) {
        const std::vector<Candidate> found = Sampled(on, c, rows).chosen();
        EXPECT_TRUE(std::isnan(found[0].logit)) << on.name << ", " << damaged;
        EXPECT_TRUE(std::isfinite(found[3].logit)) << on.name << ", " << damaged;
        for (const Candidate& candidate : found) {
          EXPECT_GE(candidate.id, 0);
          EXPECT_LT(candidate.id, static_cast<TokenId>(c.vocabulary));
        }
      }
    }
}

}  // namespace
}  // namespace hearth::kernels
