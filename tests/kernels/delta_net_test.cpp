#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/delta_gates.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr double kHalfUlp = 0x1p-24;  // the largest relative error of one rounding
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rows of a convolution with their window.
struct Convolved {
  std::uint32_t channels, taps;
  std::vector<float> weights, window, x;

  Convolved(std::uint32_t rows, std::uint32_t of_channels, std::uint32_t of_taps)
      : channels(of_channels), taps(of_taps) {
    Random random(rows * 1000 + channels * 10 + taps);
    weights = normal_floats(random, channels * taps);
    window = normal_floats(random, channels * (taps - 1));
    x = normal_floats(random, rows * channels);
  }
  std::uint32_t rows() const { return static_cast<std::uint32_t>(x.size() / channels); }

  // Channels [begin, end) of `count` rows from `row` on.
  void run(const CpuKernels& table, std::uint32_t row, std::uint32_t count, std::uint32_t begin,
           std::uint32_t end) {
    table.convolve({.rows = count,
                    .channels = end - begin,
                    .taps = taps,
                    .weights = weights.data() + begin * taps,
                    .window = window.data() + begin,
                    .window_stride = channels,
                    .x = x.data() + row * channels + begin,
                    .stride = channels});
  }
};

TEST(Convolution, MatchesItsFormula) {
  for (const std::uint32_t taps : {2u, 4u, 8u})
    for (const std::uint32_t rows : {1u, 2u, 3u, 9u}) {
      const Convolved before(rows, 32, taps);
      Convolved after = before;
      after.run(scalar_table(), 0, rows, 0, 32);
      const auto input = [&](std::uint32_t index, std::uint32_t c) {
        return index < taps - 1 ? before.window[index * 32 + c]
                                : before.x[(index - (taps - 1)) * 32 + c];
      };
      for (std::uint32_t c = 0; c < 32; ++c) {
        for (std::uint32_t row = 0; row < rows; ++row) {
          double sum = 0, size = 0;
          for (std::uint32_t j = 0; j < taps; ++j) {
            const double term = static_cast<double>(before.weights[c * taps + j]) *
                                static_cast<double>(input(row + j, c));
            sum += term;
            size += std::abs(term);
          }
          // Each rounding of the sum is of a value below `size`; SiLU moves by at most 1.1 times as
          // much. Its own: exp within 2 ulp, the addition and the division.
          const double bound = 1.1 * taps * kHalfUlp * size + 6 * kHalfUlp * std::abs(sum);
          EXPECT_NEAR(after.x[row * 32 + c], sum / (1 + std::exp(-sum)), bound * 1.01);
        }
        for (std::uint32_t j = 0; j + 1 < taps; ++j)
          EXPECT_EQ(after.window[j * 32 + c], input(rows + j, c));
      }
    }
}

TEST(Convolution, IsTheSameOnEverySetInEveryChunkAndForEverySplitOfChannels) {
  for (const std::uint32_t taps : {2u, 4u, 7u})
    for (const std::uint32_t rows : {1u, 5u, 12u}) {
      const Convolved before(rows, 256, taps);
      Convolved expected = before;
      expected.run(scalar_table(), 0, rows, 0, 256);
      for (const CpuKernels& table : all_tables())
        for (const std::uint32_t chunk : {1u, 2u, 7u, rows}) {
          Convolved pieces = before;
          for (std::uint32_t row = 0; row < rows; row += chunk)
            for (const std::uint32_t begin : {0u, 96u})
              pieces.run(table, row, std::min(chunk, rows - row), begin, begin == 0 ? 96 : 256);
          EXPECT_EQ(bits_of(pieces.x), bits_of(expected.x)) << table.name << ", " << chunk;
          EXPECT_EQ(bits_of(pieces.window), bits_of(expected.window)) << table.name;
        }
    }
}

TEST(L2Norm, MatchesItsFormulaAndIsTheSameOnEverySet) {
  for (const std::uint32_t n : {1u, 16u, 100u, 128u}) {
    Random random(n);
    const std::vector<float> x = normal_floats(random, n, 3);
    std::vector<float> expected(n);
    scalar_table().l2_norm(x.data(), n, 1e-6f, 0.25f, expected.data());
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * static_cast<double>(value);
    // The sum as in rms_norm, halved by the root; root, quotient and product.
    const double bound = ((n / 16 + 1 + 4) / 2.0 + 3) * kHalfUlp * 1.01;
    for (std::uint32_t i = 0; i < n; ++i) {
      const double exact = x[i] * 0.25 / std::sqrt(squares);
      EXPECT_NEAR(expected[i], exact, bound * std::abs(exact));
    }
    for (const CpuKernels& table : all_tables()) {
      std::vector<float> y = x;
      table.l2_norm(y.data(), n, 1e-6f, 0.25f, y.data());
      EXPECT_EQ(bits_of(y), bits_of(expected)) << table.name;
    }
  }
}

TEST(L2Norm, OfNothingIsNothing) {
  for (const CpuKernels& table : all_tables()) {
    std::vector<float> y(32, 0.0f);
    table.l2_norm(y.data(), 32, 1e-6f, 1, y.data());
    EXPECT_EQ(y, std::vector<float>(32, 0.0f)) << table.name;
  }
}

TEST(SigmoidMultiply, MatchesItsFormulaAndIsTheSameOnEverySet) {
  Random random(5);
  std::vector<float> gate = normal_floats(random, 100, 5);
  gate[0] = 200;
  gate[1] = -200;
  const std::vector<float> before = normal_floats(random, 100);
  std::vector<float> expected = before;
  scalar_table().sigmoid_multiply(gate.data(), 100, expected.data());
  for (std::size_t i = 0; i < 100; ++i) {
    const double exact = before[i] / (1 + std::exp(-static_cast<double>(gate[i])));
    EXPECT_NEAR(expected[i], exact, 6 * kHalfUlp * 1.01 * std::abs(exact) + 1e-38);
  }
  for (const CpuKernels& table : all_tables()) {
    std::vector<float> y = before;
    table.sigmoid_multiply(gate.data(), 100, y.data());
    EXPECT_EQ(bits_of(y), bits_of(expected)) << table.name;
  }
}

// The exponent of the decay is wrong by 2^-49 at most, and above 104 the decay is 0.
TEST(DeltaGates, MatchTheirFormulas) {
  constexpr double kGateError = 104 * 0x1p-49;
  const auto expect_near = [](double exact, float found) {
    const double error = exact * (kHalfUlp + kGateError) + 0x1p-150;  // or half the least float
    EXPECT_NEAR(static_cast<double>(found), exact, error * 1.01);
  };
  Random random(11);
  for (int i = 0; i < 20000; ++i) {
    const double size = std::exp(3 * random.normal());
    const auto alpha = static_cast<float>(size * random.normal());
    const auto bias = static_cast<float>(3 * random.normal());
    const auto rate = static_cast<float>(-std::exp(2 * random.normal()));
    const auto beta = static_cast<float>(size * random.normal());
    const DeltaGates gates = delta_gates(alpha, bias, rate, beta);
    const long double x = static_cast<long double>(alpha) + static_cast<long double>(bias);
    const long double softplus = x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    expect_near(static_cast<double>(std::exp(static_cast<long double>(rate) * softplus)),
                gates.decay);
    expect_near(static_cast<double>(1 / (1 + std::exp(-static_cast<long double>(beta)))),
                gates.strength);
  }
}

TEST(DeltaGates, HaveLimits) {
  const float large = 1e30f, nan = std::nanf("");
  for (const float limit : {large, kInfinity}) {
    EXPECT_EQ(delta_gates(limit, 0, -1, limit).decay, 0);
    EXPECT_EQ(delta_gates(limit, 0, -1, limit).strength, 1);
    EXPECT_EQ(delta_gates(-limit, 0, -1, -limit).decay, 1);
    EXPECT_EQ(delta_gates(-limit, 0, -1, -limit).strength, 0);
    EXPECT_EQ(delta_gates(limit, 0, 1, 0).decay, kInfinity);
  }
  EXPECT_TRUE(std::isnan(delta_gates(nan, 0, -1, 0).decay));
  EXPECT_TRUE(std::isnan(delta_gates(kInfinity, -kInfinity, -1, 0).decay));
  EXPECT_TRUE(std::isnan(delta_gates(0, 0, -1, nan).strength));
}

// One head over some rows: unit keys as the norm leaves them, and gates as trained models have.
struct Head {
  std::uint32_t key_dim, panels, rows;
  std::vector<float> state, inputs, decay, strength, out;

  Head(std::uint32_t of_rows, std::uint32_t of_key_dim, std::uint32_t of_panels)
      : key_dim(of_key_dim), panels(of_panels), rows(of_rows) {
    Random random(rows * 100 + key_dim + panels);
    state = normal_floats(random, std::size_t{key_dim} * width());
    inputs = normal_floats(random, rows * stride());
    for (std::uint32_t row = 0; row < rows; ++row) {
      float* const key = inputs.data() + row * stride() + key_dim;
      scalar_table().l2_norm(key, key_dim, 1e-6f, 1, key);
      decay.push_back(0.9f + 0.01f * static_cast<float>(row % 10));
      strength.push_back(0.1f * static_cast<float>(row % 10));
    }
    out.assign(std::size_t{rows} * width(), 0);
  }
  std::uint32_t width() const { return panels * kDeltaPanel; }
  std::uint32_t stride() const { return 2 * key_dim + width(); }
  float& at(std::uint32_t i, std::uint32_t j) {
    return state[(j / kDeltaPanel * std::size_t{key_dim} + i) * kDeltaPanel + j % kDeltaPanel];
  }

  // Panels [begin, end) of `count` rows from `row` on.
  void run(const CpuKernels& table, std::uint32_t row, std::uint32_t count, std::uint32_t begin,
           std::uint32_t end) {
    const float* const first = inputs.data() + row * stride();
    table.update_delta({.rows = count,
                        .key_dim = key_dim,
                        .panels = end - begin,
                        .state = state.data() + std::size_t{begin} * key_dim * kDeltaPanel,
                        .query = first,
                        .key = first + key_dim,
                        .value = first + 2 * key_dim + begin * kDeltaPanel,
                        .stride = stride(),
                        .decay = decay.data() + row,
                        .strength = strength.data() + row,
                        .gate_stride = 1,
                        .out = out.data() + row * width() + begin * kDeltaPanel,
                        .out_stride = width()});
  }
};

TEST(DeltaState, MatchesItsFormula) {
  Head head(1, 32, 3);
  head.strength[0] = 0.75f;
  Head after = head;
  after.run(scalar_table(), 0, 1, 0, 3);
  const double g = head.decay[0], b = head.strength[0];
  const float* const query = head.inputs.data();
  const float* const key = query + 32;
  for (std::uint32_t j = 0; j < head.width(); ++j) {
    double remembered = 0, size = 0, found = 0, found_size = 0;
    for (std::uint32_t i = 0; i < 32; ++i) {
      const double term = static_cast<double>(head.at(i, j)) * static_cast<double>(key[i]);
      remembered += term;
      size += std::abs(term);
    }
    const double value = key[32 + j], change = (value - remembered * g) * b;
    // 16 fused steps and one addition of values below `size`, then a product, a difference and a
    // product.
    const double off = (17 * size + 3 * (std::abs(value) + size)) * kHalfUlp;
    for (std::uint32_t i = 0; i < 32; ++i) {
      const double next = head.at(i, j) * g + key[i] * change;
      const double bound = std::abs(key[i]) * off +
                           2 * kHalfUlp * (std::abs(head.at(i, j)) + std::abs(key[i] * change));
      EXPECT_NEAR(after.at(i, j), next, bound * 1.01);
      found += static_cast<double>(query[i]) * static_cast<double>(after.at(i, j));
      found_size += std::abs(static_cast<double>(query[i]) * static_cast<double>(after.at(i, j)));
    }
    EXPECT_NEAR(after.out[j], found, 17 * kHalfUlp * found_size * 1.01);
  }
}

TEST(DeltaState, RemembersWhatItWasTold) {
  // With strength 1 and no decay, a query equal to the last key finds the last value.
  Head head(1, 128, 8);
  head.decay[0] = head.strength[0] = 1;
  std::copy_n(head.inputs.data() + 128, 128, head.inputs.data());
  head.run(scalar_table(), 0, 1, 0, 8);
  // Sums of 128 terms around 1 / sqrt(128) × 1, and the length of the key is 1 to a few roundings.
  for (std::uint32_t j = 0; j < head.width(); ++j)
    EXPECT_NEAR(head.out[j], head.inputs[256 + j], 1e-5);
}

TEST(DeltaState, IsTheSameOnEverySetInEveryChunkAndForEverySplitOfColumns) {
  for (const std::uint32_t panels : {1u, 3u, 8u})
    for (const std::uint32_t rows : {1u, 5u, 40u}) {
      const Head before(rows, rows == 5 ? 128 : 16, panels);
      Head expected = before;
      expected.run(scalar_table(), 0, rows, 0, panels);
      for (const CpuKernels& table : all_tables())
        for (const std::uint32_t chunk : {1u, 7u, rows}) {
          Head pieces = before;
          for (std::uint32_t row = 0; row < rows; row += chunk) {
            const std::uint32_t count = std::min(chunk, rows - row), half = panels / 2;
            if (half > 0) pieces.run(table, row, count, 0, half);
            pieces.run(table, row, count, half, panels);
          }
          EXPECT_EQ(bits_of(pieces.out), bits_of(expected.out)) << table.name << ", " << chunk;
          EXPECT_EQ(bits_of(pieces.state), bits_of(expected.state)) << table.name;
        }
    }
}

}  // namespace
}  // namespace hearth::kernels
