// The emulation itself: what it computes, and that it reports what would hang a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/gpu/port.h"

namespace hearth::kernels::emulated {
namespace {

struct Reversed {
  int values[256];
};

HEARTH_KERNEL(256) reverse_in_shared(const int* in, int* out) {
  wait_for_previous();
  HEARTH_SHARED(Reversed, shared);
  const unsigned first = block_x() * block_threads();
  shared.values[thread_index()] = in[first + thread_index()];
  sync_threads();
  out[first + thread_index()] = shared.values[block_threads() - 1 - thread_index()];
}

HEARTH_KERNEL(256) sums_of_groups(const int* in, int* out, unsigned* warps) {
  wait_for_previous();
  const int sum = group_sum<8>(in[thread_index()]);
  if (lane_index() % 8 == 0) out[thread_index() / 8] = sum;
  const auto odd = ballot(thread_index() % 2 != 0);
  if (lane_index() == 0 && odd == 0xaaaaaaaaaaaaaaaaull >> (64 - lanes())) atomic_add(warps, 1u);
}

// Each 32 threads: the product of 16 rows with 8 columns, added to 5; then of the halves of the
// rows alone.
HEARTH_KERNEL(64)
multiplies_tiles(const std::uint32_t* rows, const std::uint32_t* columns, int* out) {
  wait_for_previous();
  const unsigned group = thread_index() / 32, lane = thread_index() % 32;
  RowTile a;
  ColumnTile b;
  load_tile([&](unsigned row, unsigned k) { return rows[(16 * group + row) * 8 + k]; }, a);
  load_tile([&](unsigned column, unsigned k) { return columns[(8 * group + column) * 8 + k]; }, b);
  int sums[3][4] = {{5, 5, 5, 5}};
  multiply_tiles(a, b, sums[0]);
  multiply_half_tiles<0>(a, b, sums[1]);
  multiply_half_tiles<1>(a, b, sums[2]);
  for (unsigned kind = 0; kind < 3; ++kind)
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      out[((kind * 2 + group) * 16 + row) * 8 + column] = sums[kind][i];
    }
}

HEARTH_KERNEL(64) half_comes_to_the_barrier() {
  wait_for_previous();
  if (thread_index() < 32) sync_threads();
}
HEARTH_KERNEL(64) one_lane_returns() {
  wait_for_previous();
  if (thread_index() != 5) any_lane(true);
}
HEARTH_KERNEL(64) lanes_meet_in_different_collectives() {
  wait_for_previous();
  if (thread_index() % 2 == 0)
    shuffle_xor(1, 1);
  else
    shuffle_xor(1, 2);
}
HEARTH_KERNEL(64) one_lane_goes_on() {
  wait_for_previous();
  if (thread_index() != 7) after_loads();
  any_lane(true);
}
HEARTH_KERNEL(64) asserts() {
  wait_for_previous();
  HEARTH_ASSERT(block_x() < 2);
}

HEARTH_KERNEL(64) some_return_at_once() {
  if (thread_index() < 40) wait_for_previous();
}

struct Few {
  int values[4];
};
HEARTH_KERNEL(64) writes_beside_shared(int past) {
  wait_for_previous();
  HEARTH_SHARED(Few, shared);
  int* values = shared.values;
  if (thread_index() == 0) values[past] = 7;
}
HEARTH_KERNEL(64) writes_beside_dynamic(int past) {
  wait_for_previous();
  HEARTH_DYNAMIC_SHARED(int, values);
  if (thread_index() == 0) values[past] = 7;
}

// Reads what its neighbour may or may not have written: a race.
HEARTH_KERNEL(64) races(int* out) {
  wait_for_previous();
  HEARTH_SHARED(Reversed, shared);
  shared.values[thread_index()] = static_cast<int>(thread_index());
  out[thread_index()] = shared.values[thread_index() ^ 1];
}
HEARTH_KERNEL(64) reads_what_nobody_wrote(float* out) {
  wait_for_previous();
  HEARTH_DYNAMIC_SHARED(float, values);
  out[thread_index()] = values[thread_index()];
}

template <typename... Parameters>
std::string failure_of(void (*kernel)(Parameters...), LaunchShape shape,
                       std::type_identity_t<Parameters>... args) {
  Queue queue;
  try {
    launch(kernel, shape, &queue, args...);
  } catch (const EmulationError& error) {
    return error.what();
  }
  return "";
}

class Emulation : public testing::TestWithParam<unsigned> {};

TEST_P(Emulation, ThreadsMeetAtBarriers) {
  Queue queue(GetParam(), 3);
  std::vector<int> in(64 * 256), out(in.size());
  std::iota(in.begin(), in.end(), 0);
  launch(reverse_in_shared, {.blocks_x = 64, .threads = 256}, &queue, in.data(), out.data());
  for (std::size_t i = 0; i < in.size(); ++i)
    ASSERT_EQ(out[i], static_cast<int>(i / 256 * 256 + 255 - i % 256));
}

TEST_P(Emulation, LanesExchangeValues) {
  Queue queue(GetParam(), 4);
  std::vector<int> in(256), out(32);
  std::iota(in.begin(), in.end(), 0);
  unsigned warps = 0;
  launch(sums_of_groups, {.threads = 256}, &queue, in.data(), out.data(), &warps);
  for (int group = 0; group < 32; ++group)
    EXPECT_EQ(out[static_cast<std::size_t>(group)], 64 * group + 28);
  EXPECT_EQ(warps, 256 / GetParam());
}

TEST_P(Emulation, TilesAreMultipliedExactly) {
  Queue queue(GetParam(), 5);
  Random random(5);
  std::vector<std::int8_t> rows(2 * 16 * 32), columns(2 * 8 * 32);
  for (auto* codes : {&rows, &columns})
    for (std::int8_t& code : *codes) code = static_cast<std::int8_t>(random.below(256));
  std::fill_n(rows.begin(), 32, std::int8_t{-128});
  std::fill_n(columns.begin(), 32, std::int8_t{-128});
  std::vector<int> out(3 * 2 * 16 * 8);
  launch(multiplies_tiles, {.threads = 64}, &queue,
         reinterpret_cast<const std::uint32_t*>(rows.data()),
         reinterpret_cast<const std::uint32_t*>(columns.data()), out.data());
  for (std::size_t group = 0; group < 2; ++group)
    for (std::size_t row = 0; row < 16; ++row)
      for (std::size_t column = 0; column < 8; ++column) {
        int halves[2] = {};
        for (std::size_t i = 0; i < 32; ++i)
          halves[i / 16] +=
              rows[(16 * group + row) * 32 + i] * columns[(8 * group + column) * 32 + i];
        const auto found = [&](std::size_t kind) {
          return out[((kind * 2 + group) * 16 + row) * 8 + column];
        };
        ASSERT_EQ(found(0), 5 + halves[0] + halves[1]) << row << ", " << column;
        ASSERT_EQ(found(1), halves[0]) << row << ", " << column;
        ASSERT_EQ(found(2), halves[1]) << row << ", " << column;
      }
}

INSTANTIATE_TEST_SUITE_P(All, Emulation, testing::Values(32u, 64u));

TEST(Divergence, IsAnErrorThatNamesTheThreads) {
  const std::string barrier = failure_of(half_comes_to_the_barrier, {.threads = 64});
  EXPECT_NE(barrier.find("thread 0 waits in sync_threads"), barrier.npos) << barrier;
  EXPECT_NE(barrier.find("thread 32 has returned"), barrier.npos) << barrier;
  const std::string lane = failure_of(one_lane_returns, {.threads = 64});
  EXPECT_NE(lane.find("thread 5 has returned"), lane.npos) << lane;
  const std::string mixed = failure_of(lanes_meet_in_different_collectives, {.threads = 64});
  EXPECT_NE(mixed.find("thread 0 waits in shuffle_xor(1)"), mixed.npos) << mixed;
  EXPECT_NE(mixed.find("thread 1 waits in shuffle_xor(2)"), mixed.npos) << mixed;
  const std::string loads = failure_of(one_lane_goes_on, {.threads = 64});
  EXPECT_NE(loads.find("thread 0 waits in after_loads"), loads.npos) << loads;
  EXPECT_NE(loads.find("thread 7 waits in ballot"), loads.npos) << loads;
}

TEST(Divergence, AnAssertionNamesBlockAndThread) {
  const std::string line = failure_of(asserts, {.blocks_x = 3, .threads = 64});
  EXPECT_NE(line.find("block (2, 0, 0), thread"), line.npos) << line;
}

TEST(Order, AThreadThatReturnsWithoutWaitingIsAnError) {
  const std::string line = failure_of(some_return_at_once, {.threads = 64});
  EXPECT_NE(line.find("returns without wait_for_previous()"), line.npos) << line;
}

TEST(SharedMemoryGuards, SeeAWriteBesideIt) {
  for (const int past : {-1, 4})
    EXPECT_NE(failure_of(writes_beside_shared, {.threads = 64}, past), "") << past;
  const LaunchShape shape{.threads = 64, .dynamic_shared = 16};
  for (const int past : {-1, 4})
    EXPECT_NE(failure_of(writes_beside_dynamic, shape, past), "") << past;
  EXPECT_EQ(failure_of(writes_beside_dynamic, shape, 3), "");
}

TEST(SharedMemoryGuards, WhatNobodyWroteIsNotANumber) {
  Queue queue;
  std::vector<float> out(64);
  launch(reads_what_nobody_wrote, {.threads = 64, .dynamic_shared = 256}, &queue, out.data());
  for (const float x : out) EXPECT_NE(x, x);
}

TEST(Order, ARaceGivesOtherResultsForOtherSeeds) {
  std::vector<std::vector<int>> results;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Queue queue(32, seed);
    std::vector<int>& out = results.emplace_back(64);
    launch(races, {.threads = 64}, &queue, out.data());
  }
  EXPECT_NE(results[0], results[1]);
  Queue again(32, 0);
  std::vector<int> out(64);
  launch(races, {.threads = 64}, &again, out.data());
  EXPECT_EQ(out, results[0]);
}

}  // namespace
}  // namespace hearth::kernels::emulated
