#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/quant/half.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

struct Case {
  std::uint32_t positions, group, head_dim, value_dim;
};

std::vector<Case> cases() {
  std::vector<Case> rows;
  for (const std::uint32_t dim : {16u, 32u, 64u, 80u, 96u, 128u, 192u, 256u, 512u})
    for (const std::uint32_t positions : {1u, 31u, 33u, 130u})
      rows.push_back({positions, 2, dim, dim});
  for (std::uint32_t group = 1; group <= 16; ++group) rows.push_back({37, group, 64, 64});
  for (const std::uint32_t positions : {1u, 31u, 32u, 33u, 127u, 128u, 129u, 4097u})
    rows.push_back({positions, 3, 64, 64});
  rows.push_back({70, kMaxAttentionGroup, 32, 16});
  rows.push_back({45, 2, 192, 128});  // keys and values of different width
  rows.push_back({45, 2, kMaxHeadDim, kMaxHeadDim});
  return rows;
}

// Owns what an AttentionTask points at.
class Problem {
 public:
  Problem(const Case& row, double key_deviation) : row_(row) {
    Random random(row.positions * 1000 + row.group * 10 + row.head_dim);
    queries_ = normal_floats(random, std::size_t{row.group} * row.head_dim);
    keys_ = halves(random, std::size_t{row.positions} * row.head_dim, key_deviation);
    values_ = halves(random, std::size_t{row.positions} * row.value_dim, 1);
  }

  std::vector<float> attend(const CpuKernels& table) const {
    std::vector<float> out(std::size_t{row_.group} * row_.value_dim, kUnset);
    table.attend(task(out.data()));
    return out;
  }

  AttentionTask task(float* out) const {
    return {.queries = queries_.data(),
            .keys = keys_.data(),
            .values = values_.data(),
            .out = out,
            .positions = row_.positions,
            .group = row_.group,
            .head_dim = row_.head_dim,
            .value_dim = row_.value_dim,
            .scale = 1 / std::sqrt(static_cast<float>(row_.head_dim))};
  }

  // The result in double, and a bound of what a kernel may differ from it.
  struct Exact {
    std::vector<double> out, bound;
  };
  Exact exact() const;

  std::vector<std::uint16_t>& keys() { return keys_; }

 private:
  static constexpr float kUnset = std::numeric_limits<float>::quiet_NaN();

  static std::vector<std::uint16_t> halves(Random& random, std::size_t n, double deviation) {
    std::vector<std::uint16_t> result(n);
    for (std::uint16_t& half : result)
      half = f16_of_f32(static_cast<float>(random.normal() * deviation));
    return result;
  }

  Case row_;
  std::vector<float> queries_;
  std::vector<std::uint16_t> keys_, values_;
};

// With u = 2^-24, the relative error of one rounding:
// - A score has an absolute error of (head_dim / 16 + 4 + 1) u Σ|q k| scale, and s - m' that of two
//   scores and of one rounding of a value up to 2 max|s|.
// - A weight has that as its relative error, and 4 u of exp. A rescale exp(m - m') is such a weight
//   too; the product of rescales telescopes to exp(m_first - m_last) with the errors of the steps,
//   4 u + 1 u (of the product) for each, and one u of max|s| at each change of the maximum.
// - The sums have chains of up to `positions` fused additions and `blocks` rescaling products: the
//   bound counts all in both numerator (against Σ w|v|) and denominator, and one division.
Problem::Exact Problem::exact() const {
  constexpr double kUnit = 0x1p-24;
  const double scale = task(nullptr).scale;
  const std::uint32_t blocks = (row_.positions + 31) / 32;
  Exact result;
  for (std::uint32_t head = 0; head < row_.group; ++head) {
    std::vector<double> scores(row_.positions);
    double largest = 0, largest_error = 0;
    for (std::uint32_t p = 0; p < row_.positions; ++p) {
      double dot = 0, magnitude = 0;
      for (std::uint32_t d = 0; d < row_.head_dim; ++d) {
        const double product = static_cast<double>(queries_[head * row_.head_dim + d]) *
                               f32_of_f16(keys_[p * row_.head_dim + d]);
        dot += product;
        magnitude += std::abs(product);
      }
      scores[p] = dot * scale;
      largest = std::max(largest, std::abs(scores[p]));
      largest_error = std::max(largest_error, (row_.head_dim / 16 + 5) * kUnit * magnitude * scale);
    }
    const double maximum = *std::max_element(scores.begin(), scores.end());
    const double weight_error = 2 * largest_error + (2 * largest * blocks + 5 * blocks + 4) * kUnit;
    const double relative = 2 * (weight_error + (row_.positions + blocks + 5) * kUnit) + kUnit;
    double sum = 0;
    std::vector<double> out(row_.value_dim, 0.0), magnitude(row_.value_dim, 0.0);
    for (std::uint32_t p = 0; p < row_.positions; ++p) {
      const double weight = std::exp(scores[p] - maximum);
      sum += weight;
      for (std::uint32_t d = 0; d < row_.value_dim; ++d) {
        const double term = weight * f32_of_f16(values_[p * row_.value_dim + d]);
        out[d] += term;
        magnitude[d] += std::abs(term);
      }
    }
    for (std::uint32_t d = 0; d < row_.value_dim; ++d) {
      result.out.push_back(out[d] / sum);
      result.bound.push_back(relative * magnitude[d] / sum * 1.01);
    }
  }
  return result;
}

TEST(Attention, MatchesTheFormulaInDouble) {
  const CpuKernels& scalar = scalar_table();
  for (const double deviation : {1.0, 6.0}) {  // soft, and nearly one-hot
    for (const Case& row : cases()) {
      const Problem problem(row, deviation);
      const std::vector<float> got = problem.attend(scalar);
      const auto [exact, bound] = problem.exact();
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], exact[i], bound[i])
            << row.positions << " positions, group " << row.group << ", head " << row.head_dim;
    }
  }
}

TEST(Attention, IsTheSameOnEverySet) {
  const CpuKernels& scalar = scalar_table();
  for (const Case& row : cases()) {
    const Problem problem(row, 2.0);
    const std::vector<float> expected = problem.attend(scalar);
    for (const CpuKernels& table : tuned_tables())
      ASSERT_EQ(bits_of(problem.attend(table)), bits_of(expected))
          << table.name << ": " << row.positions << " positions, group " << row.group << ", head "
          << row.head_dim;
  }
}

// A head's result must not depend on the others it is computed with.
TEST(Attention, AHeadAloneGivesTheBitsItHasInAGroup) {
  for (const CpuKernels& table : all_tables()) {
    const Problem problem({131, 5, 64, 64}, 2.0);
    const std::vector<float> together = problem.attend(table);
    std::vector<float> alone(together.size());
    for (std::uint32_t head = 0; head < 5; ++head) {
      AttentionTask task = problem.task(alone.data() + head * 64);
      task.queries += head * 64;
      task.group = 1;
      table.attend(task);
    }
    EXPECT_EQ(bits_of(alone), bits_of(together)) << table.name;
  }
}

TEST(Attention, OnePositionGivesItsValueExactly) {
  Problem problem({1, 4, 64, 32}, 1.0);
  const std::vector<float> got = problem.attend(scalar_table());
  const AttentionTask task = problem.task(nullptr);
  for (std::uint32_t i = 0; i < 4 * 32; ++i) EXPECT_EQ(got[i], f32_of_f16(task.values[i % 32]));
}

TEST(Attention, ANanInTheCacheReachesTheResult) {
  for (const CpuKernels& table : all_tables()) {
    Problem problem({100, 2, 32, 32}, 1.0);
    problem.keys()[40 * 32] = 0x7e00;
    const std::vector<float> got = problem.attend(table);
    EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](float v) { return std::isnan(v); }));
  }
}

}  // namespace
}  // namespace hearth::kernels
