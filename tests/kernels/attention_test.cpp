// Attention against its formula in double, over all pairs of formats and the shapes of models; and
// the same bits on every instruction set, in a group and alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/quant/half.h"
#include "tests/kernels/support/attention_problem.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

std::vector<AttentionCase> shapes() {
  std::vector<AttentionCase> rows;
  for (const std::uint32_t dim : {16u, 48u, 64u, 80u, 96u, 128u, 192u, 256u, 512u})
    for (const std::uint32_t positions : {1u, 31u, 33u, 130u})
      rows.push_back({.positions = positions, .group = 2, .key_dim = dim, .value_dim = dim});
  for (std::uint32_t group = 1; group <= 16; ++group)
    rows.push_back({.positions = 37, .group = group});
  for (const std::uint32_t positions : {1u, 31u, 32u, 33u, 127u, 128u, 129u, 4097u, 8193u})
    rows.push_back({.positions = positions, .group = 3});
  rows.push_back({.positions = 70, .group = 8, .rows = 8, .key_dim = 32, .value_dim = 16});
  rows.push_back({.positions = 45, .group = 2, .key_dim = 192, .value_dim = 128});
  rows.push_back(
      {.positions = 45, .group = 2, .rows = 7, .key_dim = kMaxHeadDim, .value_dim = kMaxHeadDim});
  rows.push_back({.positions = 300, .group = 2, .rows = 5, .window = 100});
  rows.push_back(
      {.positions = 300, .group = 2, .rows = 30, .key_dim = 16, .value_dim = 16, .window = 3});
  return rows;
}

// Positions for `wanted` of them to be read in the format, and what lies before and behind these.
std::uint32_t positions_for(const KvFormatTraits& format, std::uint32_t wanted) {
  return format.sink() + (wanted + format.tile() - 1) / format.tile() * format.tile() +
         wanted % kKvTile;
}

// Every format of keys with every one of values.
std::vector<AttentionCase> pairs() {
  std::vector<AttentionCase> rows;
  for (const KvFormatTraits& keys : kKvFormats)
    for (const KvFormatTraits& values : kKvFormats)
      rows.push_back({.positions = std::max(positions_for(keys, 69), positions_for(values, 69)),
                      .group = 2,
                      .rows = 2,
                      .key_dim = 32,
                      .keys = keys.format,
                      .values = values.format});
  // The shapes of models, formats that make tasks of their own.
  for (const KvFormatTraits& format : kKvFormats) {
    for (const std::uint32_t dim : {64u, 96u, 128u, 192u, 256u, 512u})
      rows.push_back({.positions = positions_for(format, 129),
                      .group = 1,
                      .key_dim = dim,
                      .value_dim = dim,
                      .keys = format.format,
                      .values = format.format});
    for (const std::uint32_t tail : {1u, 40u, 200u})
      rows.push_back({.positions = positions_for(format, 150),
                      .group = 5,
                      .rows = 12,
                      .key_dim = 32,
                      .value_dim = 32,
                      .keys = format.format,
                      .values = format.format,
                      .tail = tail});
    rows.push_back({.positions = 4200,
                    .group = 2,
                    .rows = 2,
                    .key_dim = 32,
                    .value_dim = 32,
                    .keys = format.format,
                    .values = format.format,
                    .window = 4150});
    // The borders of sink and tiles; groups and rows that leave rests.
    for (const std::uint32_t positions : {1u, 127u, 128u, 129u, 255u, 256u, 257u})
      rows.push_back({.positions = positions,
                      .group = 1 + positions % 16,
                      .rows = positions > 2 ? 3u : 1u,
                      .key_dim = 32,
                      .value_dim = 32,
                      .keys = format.format,
                      .values = format.format});
    // A window that leaves the first tiles of some rows behind.
    rows.push_back({.positions = 420,
                    .group = 2,
                    .rows = 9,
                    .key_dim = 64,
                    .value_dim = 32,
                    .keys = format.format,
                    .values = format.format,
                    .window = 165});
  }
  return rows;
}

// Values that are the first channels of the keys, in every format that holds them and the shapes of
// models: all heads share one latent.
std::vector<AttentionCase> latents() {
  std::vector<AttentionCase> rows;
  for (const KvFormatTraits& format : kKvFormats) {
    if (!format.holds_latents()) continue;
    for (const std::uint32_t tail : {0u, 40u})
      rows.push_back({.positions = 133,
                      .group = 5,
                      .rows = 3,
                      .key_dim = 96,
                      .value_dim = 64,
                      .keys = format.format,
                      .tail = tail,
                      .values_in_keys = true});
    rows.push_back({.positions = 65,
                    .group = 20,
                    .key_dim = 576,
                    .value_dim = 512,
                    .keys = format.format,
                    .values_in_keys = true});
  }
  rows.push_back({.positions = 4100,
                  .group = 3,
                  .key_dim = 48,
                  .value_dim = 16,
                  .keys = KvFormat::kF32,
                  .values_in_keys = true});
  return rows;
}

std::vector<AttentionCase> formats() {
  std::vector<AttentionCase> rows = pairs();
  for (const AttentionCase& row : latents()) rows.push_back(row);
  return rows;
}

std::vector<AttentionCase> all_cases() {
  std::vector<AttentionCase> rows = shapes();
  for (const AttentionCase& row : formats()) rows.push_back(row);
  return rows;
}

std::string describe(const AttentionCase& c) {
  return std::string(traits(c.keys).name) + "/" + std::string(traits(c.values).name) + ", " +
         std::to_string(c.positions) + " positions, group " + std::to_string(c.group) + ", rows " +
         std::to_string(c.rows) + ", head " + std::to_string(c.key_dim) + ", tail " +
         std::to_string(c.tail) + ", window " + std::to_string(c.window);
}

void expect_near(const std::vector<float>& got, const AttentionProblem::Exact& exact,
                 const std::string& what) {
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], exact.out[i], exact.bound[i]) << what << ", value " << i;
}

// Soft and nearly one-hot in turn.
TEST(Attention, MatchesTheFormulaInDouble) {
  double deviation = 1;
  for (AttentionCase row : all_cases()) {
    row.deviation = deviation = 7 - deviation;
    const AttentionProblem problem(row);
    expect_near(problem.attend(scalar_table()), problem.exact(), describe(row));
  }
}

TEST(Attention, IsTheSameOnEverySet) {
  for (AttentionCase row : all_cases()) {
    row.deviation = 2;
    const AttentionProblem problem(row);
    const std::vector<float> expected = problem.attend(scalar_table());
    for (const CpuKernels& table : tuned_tables())
      ASSERT_EQ(bits_of(problem.attend(table)), bits_of(expected))
          << table.name << ": " << describe(row);
  }
}

// A query's result must not depend on the others it is computed with.
TEST(Attention, AQueryAloneGivesTheBitsItHasAmongOthers) {
  std::size_t index = 0;
  for (const CpuKernels& table : all_tables())
    for (const AttentionCase& row : formats()) {
      if (row.positions > 430 || ++index % 5 != 0) continue;  // other ones with each table
      const AttentionProblem problem(row);
      const std::vector<float> together = problem.attend(table);
      for (std::uint32_t i = 0; i < problem.queries(); ++i) {
        const auto begin = together.begin() + static_cast<std::ptrdiff_t>(i * row.value_dim);
        ASSERT_EQ(bits_of(problem.attend_alone(table, i)),
                  bits_of({begin, begin + static_cast<std::ptrdiff_t>(row.value_dim)}))
            << table.name << ": " << describe(row) << ", query " << i;
      }
    }
}

TEST(Attention, ASinkTakesItsShare) {
  for (const float sink : {-3.0f, 0.0f, 9.0f}) {
    const AttentionCase row{.positions = 70, .group = 2};
    const AttentionProblem problem(row);
    const AttentionProblem::Exact exact = problem.exact(sink);
    const std::vector<float> expected = problem.attend(scalar_table(), sink);
    expect_near(expected, exact, "sink " + std::to_string(sink));
    for (const CpuKernels& table : tuned_tables())
      EXPECT_EQ(bits_of(problem.attend(table, sink)), bits_of(expected)) << table.name;
  }
}

TEST(Attention, OnePositionGivesItsValueExactly) {
  const AttentionProblem problem({.positions = 1, .group = 4, .value_dim = 32});
  const std::vector<float> got = problem.attend(scalar_table());
  std::vector<float> rows(kKvTile * 32);
  decode_tile(KvFormat::kF16, KvPart::kValues, problem.task().value_source.tiles, 32, rows.data());
  for (std::uint32_t i = 0; i < 4 * 32; ++i) EXPECT_EQ(got[i], rows[i % 32]);
}

TEST(Attention, ANanInTheCacheReachesTheResult) {
  for (const CpuKernels& table : all_tables()) {
    AttentionProblem problem({.positions = 100, .group = 2, .key_dim = 32, .value_dim = 32});
    problem.poison_key(40);
    const std::vector<float> got = problem.attend(table);
    EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](float v) { return std::isnan(v); }));
  }
}

// Weights that meet codes count from the largest score of their tile, which is none here.
TEST(Attention, ATileOfEndlesslyLowScoresAddsNothing) {
  for (const KvFormatTraits& format : kKvFormats) {
    const auto with_scores_of = [&](float low, const CpuKernels& table) {
      AttentionProblem problem({.positions = positions_for(format, 256),
                                .group = 1,
                                .key_dim = 32,
                                .value_dim = 96,
                                .values = format.format});
      std::vector<float> key(32, 0.0f);
      key[0] = problem.task().values[0] > 0 ? low : -low;
      for (std::uint32_t p = 0; p < kKvTile; ++p)
        problem.store_key(format.sink() + kKvTile + p, key);
      return problem.attend(table);
    };
    const std::vector<float> expected = with_scores_of(-6e4f, scalar_table());
    EXPECT_TRUE(std::all_of(expected.begin(), expected.end(), [](float v) { return v - v == 0; }));
    for (const CpuKernels& table : all_tables())
      EXPECT_EQ(bits_of(with_scores_of(-std::numeric_limits<float>::infinity(), table)),
                bits_of(expected))
          << table.name << ": " << format.name;
  }
}

TEST(Attention, ANanInBlocksOfValuesReachesTheResult) {
  for (const CpuKernels& table : all_tables())
    for (const KvFormatTraits& format : kKvFormats) {
      if (!format.quantized()) continue;
      AttentionProblem problem({.positions = positions_for(format, 100),
                                .group = 2,
                                .value_dim = 96,
                                .values = format.format});
      problem.poison_value(format.sink() + 40);
      const std::vector<float> got = problem.attend(table);
      EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](float v) { return std::isnan(v); }))
          << table.name << ": " << format.name;
    }
}

double mean_square(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

// Both errors are about uniform: half a step of 32767 to a weight, times codes that are as large as
// a third of 127; half a step of at least 1 to the value's code. That would make one 780 times the
// other, were a tile's weights and scales alike; 780 / sqrt(32) times where one position has nearly
// all of it and the roundings of the others' weights are all that counts; and steps are those of
// the largest scale, which of 128 blocks of 32 normal values each (3.9 deviations) is 1.9 times a
// usual one (2.1): 72.
TEST(Attention, CodesOfWeightsAreMuchFinerThanThoseOfValues) {
  double deviation = 0.5;
  for (const KvFormatTraits& format : kKvFormats) {
    if (!format.quantized()) continue;
    deviation = 4.5 - deviation;
    AttentionCase row{.positions = positions_for(format, 256),
                      .group = 4,
                      .value_dim = 128,
                      .values = format.format,
                      .deviation = deviation};
    const AttentionProblem problem(row);
    const std::vector<float> got = problem.attend(scalar_table());
    const std::vector<double> exact = problem.exact().out;
    row.values = KvFormat::kF16;
    const double of_values = mean_square(exact, AttentionProblem(row).exact().out);
    EXPECT_LT(std::sqrt(mean_square({got.begin(), got.end()}, exact)), std::sqrt(of_values) / 70)
        << format.name;
  }
}

TEST(Attention, ChunksAreFewEnoughForEveryContext) {
  for (const std::uint32_t positions : {1u, 4096u, 4097u, 262144u, 262145u, 1u << 24}) {
    const std::uint32_t chunk = attention_chunk(positions);
    EXPECT_LE((positions + chunk - 1) / chunk, kMaxAttentionChunks);
    EXPECT_EQ(chunk % kKvTile, 0u);
  }
  EXPECT_EQ(attention_chunk(262144), 4096u);
}

TEST(Rotation, IsOrthonormalAndItsOwnInverse) {
  Random random(3);
  for (const CpuKernels& table : all_tables())
    for (const std::uint32_t size : {1u, 2u, 8u, 16u, 32u, 64u, 128u, 512u}) {
      const std::vector<float> x = normal_floats(random, 1024);
      std::vector<float> y = x;
      table.rotate(y.data(), 1024, size);
      double before = 0, after = 0;
      for (const float value : x) before += double{value} * value;
      for (const float value : y) after += double{value} * value;
      EXPECT_NEAR(after / before, 1, 1e-5) << table.name << " " << size;
      std::vector<float> scalar = x;
      scalar_table().rotate(scalar.data(), 1024, size);
      EXPECT_EQ(bits_of(y), bits_of(scalar)) << table.name << " " << size;
      table.rotate(y.data(), 1024, size);
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], x[i], 1e-5);
    }
}

}  // namespace
}  // namespace hearth::kernels
