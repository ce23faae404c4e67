// Decode attention on a device: the bits of the scalar kernels for every pair of formats, shape and
// context, and of single steps for every number of rows.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/gpu/support/attention_problem.h"

namespace hearth::kernels {
namespace {

void expect_specified(const TestDevice& on, const HeadsCase& c) {
  HeadsProblem(c).expect_specified(on);
}

// Each case on another device than the one before: the cases are many, and each kind of them is met
// by all devices.
void expect_specified(const std::vector<HeadsCase>& cases) {
  std::size_t device = 0;
  for (const HeadsCase& c : cases) {
    expect_specified(test_devices()[device++ % test_devices().size()], c);
    if (testing::Test::HasFailure()) return;
  }
}
void expect_specified_everywhere(const std::vector<HeadsCase>& cases) {
  for (const TestDevice& on : test_devices())
    for (const HeadsCase& c : cases) expect_specified(on, c);
}

// Positions for some tiles to be read in the format, with what lies before and behind them.
std::uint32_t positions_for(KvFormat format, std::uint32_t tiles) {
  return traits(format).sink() + tiles * traits(format).tile() + 5;
}

TEST(GpuAttention, EveryPairOfFormats) {
  std::vector<HeadsCase> cases;
  for (const KvFormatTraits& keys : kKvFormats)
    for (const KvFormatTraits& values : kKvFormats)
      cases.push_back(
          {.positions = std::max(positions_for(keys.format, 1), positions_for(values.format, 1)),
           .group = 2,
           .keys = keys.format,
           .values = values.format,
           .rotated = true});
  expect_specified(cases);
}

TEST(GpuAttention, EveryFormatInHeadsOfModels) {
  std::vector<HeadsCase> cases;
  for (const KvFormatTraits& format : kKvFormats)
    for (const std::uint32_t dim : {64u, 96u, 128u, 192u, 256u, 512u})
      cases.push_back({.positions = positions_for(format.format, 2) + dim % 7,
                       .group = 1,
                       .key_dim = dim,
                       .value_dim = dim,
                       .keys = format.format,
                       .values = format.format,
                       .rotated = true});
  expect_specified(cases);
}

TEST(GpuAttention, EveryGroupAndContext) {
  std::vector<HeadsCase> cases;
  for (std::uint32_t group = 1; group <= 16; ++group)
    cases.push_back({.positions = 37, .kv_heads = 2, .group = group});
  for (const std::uint32_t positions : {1u, 31u, 32u, 33u, 127u, 128u, 129u, 255u, 256u, 257u})
    for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ4_0, KvFormat::kKvarn4})
      cases.push_back({.positions = positions, .group = 3, .keys = format, .values = format});
  for (const std::uint32_t dim : {16u, 48u, 80u})
    cases.push_back({.positions = 45, .group = 3, .key_dim = dim, .value_dim = dim});
  cases.push_back({.positions = 45, .group = 2, .key_dim = 192, .value_dim = 128});
  expect_specified_everywhere(cases);
}

TEST(GpuAttention, ALongContext) {
  std::vector<HeadsCase> cases;
  for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0, KvFormat::kKvarn3})
    cases.push_back({.positions = 4097, .group = 2, .keys = format, .values = format, .tail = 40});
  cases.push_back({.positions = 4097, .window = 1000, .sinks = true});
  expect_specified(cases);
}

// Chunks become larger at 16385 positions, between two rows of one step.
TEST(GpuAttention, RowsWhoseChunksDifferInSize) {
  expect_specified(test_devices()[0], {.positions = 16387, .rows = 4, .group = 2});
}

TEST(GpuAttention, WindowsPiecesAndSinks) {
  std::vector<HeadsCase> cases;
  for (const std::uint32_t window : {1u, 3u, 100u, 128u, 300u})
    for (const bool piece : {false, true})
      cases.push_back({.positions = 700,
                       .rows = 5,
                       .group = 2,
                       .keys = KvFormat::kQ8_0,
                       .values = KvFormat::kKvarn4,
                       .tail = 30,
                       .window = window,
                       .window_is_piece = piece,
                       .sinks = true});
  expect_specified_everywhere(cases);
}

// A part of every row of keys is the values.
TEST(GpuAttention, Latents) {
  std::vector<HeadsCase> cases;
  for (const KvFormatTraits& format : kKvFormats)
    if (format.holds_latents())
      cases.push_back({.positions = 140,
                       .rows = 2,
                       .group = 3,
                       .key_dim = 96,
                       .value_dim = 64,
                       .keys = format.format,
                       .tail = 10,
                       .values_in_keys = true});
  cases.push_back({.positions = 70,
                   .group = 20,
                   .key_dim = 576,
                   .value_dim = 512,
                   .keys = KvFormat::kQ8_0,
                   .values_in_keys = true});
  cases.push_back(
      {.positions = 300, .group = 3, .key_dim = 48, .value_dim = 16, .values_in_keys = true});
  expect_specified_everywhere(cases);
}

// Heads that end within a block of activations, and rows of heads that end before their stride.
TEST(GpuAttention, ResultsAreGatedActivations) {
  std::vector<HeadsCase> cases;
  for (const bool gated : {false, true})
    for (const bool apart : {false, true})
      for (const std::uint32_t rows : {1u, 3u, kMostSideBySideRows, kMostSideBySideRows + 1}) {
        for (const std::uint32_t dim : {16u, 48u, 80u, 128u})
          cases.push_back({.positions = 30,
                           .rows = rows,
                           .kv_heads = 3,
                           .key_dim = dim,
                           .value_dim = dim,
                           .gated = gated,
                           .apart = apart});
        cases.push_back({.positions = 300,
                         .rows = rows,
                         .group = 3,
                         .key_dim = 64,
                         .value_dim = 96,
                         .keys = KvFormat::kQ8_0,
                         .values = KvFormat::kQ4_0,
                         .sinks = true,
                         .rotated = true,
                         .gated = gated,
                         .apart = apart});
      }
  cases.push_back({.positions = 210,
                   .rows = 210,
                   .kv_heads = 2,
                   .group = 2,
                   .key_dim = 32,
                   .value_dim = 32,
                   .gated = true});
  cases.push_back({.positions = 140,
                   .rows = 2,
                   .group = 3,
                   .key_dim = 576,
                   .value_dim = 512,
                   .values_in_keys = true,
                   .apart = true});
  expect_specified(cases);
}

// Nothing else is written then.
TEST(GpuAttention, ResultsAreFloatsAlone) {
  for (const TestDevice& on : test_devices())
    for (const std::uint32_t rows : {2u, kMostSideBySideRows + 2})
      for (const bool apart : {false, true})
        HeadsProblem({.positions = 40,
                      .rows = rows,
                      .kv_heads = 3,
                      .key_dim = 32,
                      .value_dim = 48,
                      .gated = true,
                      .apart = apart})
            .expect_specified_floats(on);
}

// Rows of one step read tiles in both forms.
TEST(GpuAttention, RowsOfAStepHaveTheBitsOfSingleSteps) {
  std::size_t device = 0;
  for (const KvFormatTraits& format : kKvFormats)
    for (const std::uint32_t tail : {0u, 40u}) {
      const std::uint32_t rows = 2 + static_cast<std::uint32_t>(device) % 7;
      const HeadsCase c{.positions = positions_for(format.format, 2) + tail,
                        .rows = rows,
                        .group = 3,
                        .keys = format.format,
                        .values = format.format,
                        .tail = tail};
      const TestDevice& on = test_devices()[device++ % test_devices().size()];
      const HeadsProblem problem(c);
      problem.expect_specified(on);
      for (std::uint32_t row = 0; row < rows; row += rows - 1) problem.expect_specified(on, row, 1);
    }
}

// More than are computed side by side: blocks walk the context.
TEST(GpuAttention, ManyRows) {
  std::vector<HeadsCase> cases;
  for (const KvFormatTraits& format : kKvFormats)
    cases.push_back({.positions = 520 + traits(format.format).sink(),
                     .rows = kMostSideBySideRows + 1,
                     .group = 2,
                     .keys = format.format,
                     .values = format.format,
                     .tail = 20,
                     .sinks = true,
                     .rotated = true});
  for (const std::uint32_t rows : {17u, 40u})
    cases.push_back({.positions = rows, .rows = rows, .kv_heads = 2, .group = 3});
  for (const std::uint32_t window : {3u, 128u, 300u})
    for (const bool piece : {false, true})
      cases.push_back({.positions = 700,
                       .rows = 10,
                       .keys = KvFormat::kQ8_0,
                       .values = KvFormat::kKvarn4,
                       .tail = 30,
                       .window = window,
                       .window_is_piece = piece});
  cases.push_back({.positions = 300,
                   .rows = 9,
                   .group = 3,
                   .key_dim = 96,
                   .value_dim = 64,
                   .keys = KvFormat::kQ8_0,
                   .tail = 10,
                   .values_in_keys = true});
  expect_specified(cases);
}

TEST(GpuAttention, ManyRowsWhoseChunksDifferInSize) {
  expect_specified(test_devices().back(), {.positions = 16387, .rows = 9});
}

}  // namespace
}  // namespace hearth::kernels
