// That the emulation finds accesses which nothing orders, unaligned ones, and those through the
// read-only path to what is not read-only. This file is compiled as kernels are.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gpu/port.h"

namespace hearth::kernels::emulated {
namespace {

struct Row {
  int values[256];
};
struct ByteRow {
  std::uint8_t bytes[256];
};

enum class Between { kNothing, kShuffle, kSyncLanes, kBarrier };

// Each thread reads what thread index ^ mask wrote.
HEARTH_KERNEL(256) passes_on(int* out, unsigned mask, Between between) {
  wait_for_previous();
  HEARTH_SHARED(Row, row);
  const unsigned self = thread_index();
  row.values[self] = static_cast<int>(self);
  if (between == Between::kShuffle) shuffle_xor(1, 1);
  if (between == Between::kSyncLanes) sync_lanes();
  if (between == Between::kBarrier) sync_threads();
  out[self] = row.values[self ^ mask];
}

// Thread 7 writes what all have read.
HEARTH_KERNEL(256) overwrites(int* out, bool waits) {
  wait_for_previous();
  HEARTH_SHARED(Row, row);
  const unsigned self = thread_index();
  if (self == 0) row.values[0] = 3;
  sync_threads();
  out[self] = row.values[0];
  if (waits) sync_threads();
  if (self == 7) row.values[0] = 4;
}

HEARTH_KERNEL(64) writes_neighbouring_bytes(int* out) {
  wait_for_previous();
  HEARTH_SHARED(ByteRow, row);
  row.bytes[thread_index()] = static_cast<std::uint8_t>(thread_index());
  sync_threads();
  out[thread_index()] = row.bytes[63 - thread_index()];
}
HEARTH_KERNEL(64) reads_words_of_bytes(std::uint32_t* out) {
  wait_for_previous();
  HEARTH_SHARED(ByteRow, row);
  row.bytes[thread_index()] = 1;
  sync_lanes();
  out[thread_index()] = reinterpret_cast<const std::uint32_t*>(row.bytes)[thread_index() / 4 ^ 8];
}

// Thread 0 of each block.
HEARTH_KERNEL(64) all_blocks_write(int* out) {
  wait_for_previous();
  if (thread_index() == 0) *out = 1;
}
HEARTH_KERNEL(64) a_block_reads(const int* in, int* out) {
  wait_for_previous();
  if (thread_index() != 0) return;
  if (block_x() == 0) out[0] = 1;
  if (block_x() == 1) out[1] = in[0];
}
HEARTH_KERNEL(64) counts(unsigned* count, unsigned* found, bool reads) {
  wait_for_previous();
  atomic_add(count, 1u);
  if (reads) *found = *count;
}

HEARTH_KERNEL(64) reads_its_own_write_as_constant(std::uint32_t* x) {
  wait_for_previous();
  x[thread_index()] = 1;
  if (load_word(x + thread_index()) != 1) x[thread_index()] = 2;
}
HEARTH_KERNEL(64) writes_what_it_read_as_constant(std::uint32_t* x) {
  wait_for_previous();
  x[thread_index()] = load_word(x + thread_index()) + 1;
}
HEARTH_KERNEL(64) reads_shared_as_constant(std::uint32_t* out) {
  wait_for_previous();
  HEARTH_SHARED(Row, row);
  row.values[thread_index()] = 1;
  out[thread_index()] = load_word(row.values + thread_index());
}

HEARTH_KERNEL(64) reads_a_word_at(const std::uint8_t* from, std::uint32_t* to) {
  wait_for_previous();
  if (thread_index() == 0) *to = *reinterpret_cast<const std::uint32_t*>(from);
}
HEARTH_KERNEL(64) stores_four_words_at(std::uint8_t* to) {
  wait_for_previous();
  if (thread_index() == 0) *aligned<Word4>(to) = Word4{{1, 2, 3, 4}};
}

HEARTH_KERNEL(64) waits_at_two_barriers() {
  wait_for_previous();
  if (thread_index() < 32)
    sync_threads();
  else
    sync_threads();
}

HEARTH_KERNEL(64) reads_before_it_waits(const int* in, int* out) {
  const int x = in[thread_index()];
  wait_for_previous();
  out[thread_index()] = x;
}
HEARTH_KERNEL(64) asks_before_it_waits(const int* in, int* out) {
  prefetch(in + thread_index());
  wait_for_previous();
  out[thread_index()] = in[thread_index()];
}

class Races : public testing::Test {
 protected:
  void SetUp() override {
#ifndef HEARTH_ACCESSES_ARE_NOTED
    GTEST_SKIP() << "a sanitizer leaves no room for the compiler's notes of accesses";
#endif
  }

  // In several orders: what is found does not depend on them.
  template <typename... Parameters>
  std::string failure_of(void (*kernel)(Parameters...), LaunchShape shape,
                         std::type_identity_t<Parameters>... args) {
    std::vector<std::string> failures;
    for (const std::uint64_t seed : {kForwards, kBackwards, std::uint64_t{7}}) {
      Queue queue(lanes_, seed);
      try {
        launch(kernel, shape, &queue, args...);
        failures.emplace_back();
      } catch (const EmulationError& error) {
        failures.emplace_back(error.what());
      }
    }
    for (const std::string& one : failures) EXPECT_EQ(one.empty(), failures[0].empty()) << one;
    return failures[0];
  }

  unsigned lanes_ = 32;
  std::vector<int> out_ = std::vector<int>(256);
};

testing::AssertionResult says(const std::string& line, const char* what) {
  if (line.find(what) != line.npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << line << "\" does not say: " << what;
}

TEST_F(Races, ThreadsNeedABarrier) {
  const LaunchShape shape{.blocks_x = 2, .threads = 128};
  for (const Between between : {Between::kNothing, Between::kShuffle, Between::kSyncLanes})
    EXPECT_TRUE(says(failure_of(passes_on, shape, out_.data(), 64, between), "no barrier"));
  lanes_ = 64;
  EXPECT_TRUE(
      says(failure_of(passes_on, shape, out_.data(), 64, Between::kSyncLanes), "no barrier"));
}

TEST_F(Races, ABarrierOrdersThreads) {
  const LaunchShape shape{.threads = 128};
  EXPECT_EQ(failure_of(passes_on, shape, out_.data(), 64, Between::kBarrier), "");
  EXPECT_EQ(failure_of(passes_on, shape, out_.data(), 0, Between::kNothing), "");
}

TEST_F(Races, LanesAreNotInLockStep) {
  const LaunchShape shape{.threads = 128};
  for (const Between between : {Between::kNothing, Between::kShuffle})
    EXPECT_TRUE(says(failure_of(passes_on, shape, out_.data(), 1, between), "no sync_lanes()"));
  EXPECT_EQ(failure_of(passes_on, shape, out_.data(), 1, Between::kSyncLanes), "");
}

TEST_F(Races, WarpsAreAsWideAsTheDevice) {
  const LaunchShape shape{.threads = 128};
  EXPECT_TRUE(
      says(failure_of(passes_on, shape, out_.data(), 32, Between::kSyncLanes), "no barrier"));
  lanes_ = 64;
  EXPECT_EQ(failure_of(passes_on, shape, out_.data(), 32, Between::kSyncLanes), "");
}

TEST_F(Races, AReadIsOverBeforeTheNextWrite) {
  const LaunchShape shape{.threads = 256};
  EXPECT_TRUE(says(failure_of(overwrites, shape, out_.data(), false), "and no "));
  EXPECT_EQ(failure_of(overwrites, shape, out_.data(), true), "");
}

TEST_F(Races, BytesOfAWordAreApart) {
  EXPECT_EQ(failure_of(writes_neighbouring_bytes, {.threads = 64}, out_.data()), "");
  std::vector<std::uint32_t> words(64);
  EXPECT_TRUE(says(failure_of(reads_words_of_bytes, {.threads = 64}, words.data()), "no barrier"));
}

TEST_F(Races, NothingOrdersBlocks) {
  const LaunchShape shape{.blocks_x = 3, .threads = 64};
  EXPECT_TRUE(says(failure_of(all_blocks_write, shape, out_.data()), "another block"));
  EXPECT_TRUE(says(failure_of(a_block_reads, shape, out_.data(), out_.data()), "another block"));
  EXPECT_EQ(failure_of(all_blocks_write, {.threads = 64}, out_.data()), "");
}

TEST_F(Races, AtomicsDoNotConflictButWithTheRest) {
  const LaunchShape shape{.blocks_x = 3, .threads = 64};
  unsigned count = 0, found[64] = {};
  EXPECT_EQ(failure_of(counts, shape, &count, found, false), "");
  EXPECT_EQ(count, 3 * 3 * 64u);
  EXPECT_NE(failure_of(counts, shape, &count, found, true), "");
}

TEST_F(Races, TheReadOnlyPathReadsWhatNobodyWrites) {
  std::vector<std::uint32_t> x(64);
  const LaunchShape shape{.threads = 64};
  EXPECT_TRUE(says(failure_of(reads_its_own_write_as_constant, shape, x.data()), "read-only path"));
  EXPECT_TRUE(says(failure_of(writes_what_it_read_as_constant, shape, x.data()), "read-only path"));
  EXPECT_TRUE(says(failure_of(reads_shared_as_constant, shape, x.data()), "not global memory"));
}

TEST_F(Races, AccessesAreAligned) {
  alignas(16) std::uint8_t bytes[64] = {};
  std::uint32_t word = 0;
  EXPECT_TRUE(says(failure_of(reads_a_word_at, {.threads = 64}, bytes + 2, &word), "not aligned"));
  EXPECT_EQ(failure_of(reads_a_word_at, {.threads = 64}, bytes + 4, &word), "");
  EXPECT_TRUE(says(failure_of(stores_four_words_at, {.threads = 64}, bytes + 8), "not aligned"));
  EXPECT_EQ(failure_of(stores_four_words_at, {.threads = 64}, bytes + 16), "");
}

TEST_F(Races, TwoBarriersAreNotOne) {
  EXPECT_TRUE(says(failure_of(waits_at_two_barriers, {.threads = 64}), "do not meet"));
}

TEST_F(Races, AreAllAccessesBeforeTheWaitForTheLaunchBefore) {
  std::vector<int> in(64), out(64);
  const std::string found =
      failure_of(reads_before_it_waits, {.threads = 64}, in.data(), out.data());
  EXPECT_NE(found.find("an access before wait_for_previous()"), found.npos) << found;
  EXPECT_EQ(failure_of(asks_before_it_waits, {.threads = 64}, in.data(), out.data()), "");
}

}  // namespace
}  // namespace hearth::kernels::emulated
