// A layer's part for the CPU: what lies in mapped memory when the doorbell rings, and what is left
// alone when there is none.
#include "kernels/gpu/lane_block.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "kernels/cpu_kernels.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"
#include "tests/kernels/support/matrices.h"

namespace hearth::kernels {
namespace {

struct Case {
  std::uint32_t rows = 2;  // of the step
  std::uint32_t jobs = 3;
  bool with_values = false;
  bool weighed = true;
};

constexpr std::uint32_t kMostRows = 4, kUsed = 3, kEmbedding = 300, kStamp = 7;

template <typename T>
std::vector<T> copied(const T* from, std::size_t count) {
  return {from, from + count};
}

// Runs `launch`, and takes a copy of the block in another thread as soon as it hears of it, as the
// CPU's lane does: while the kernel still runs, perhaps.
template <typename F>
void watch(const LaneControl& control, const MappedMemory& from, const MappedMemory& to, F launch) {
  const std::jthread watcher([&](const std::stop_token& ended) {
    const auto heard = [](const std::uint32_t& word) {
      return std::atomic_ref(const_cast<std::uint32_t&>(word)).load(std::memory_order_acquire) != 0;
    };
    while (!heard(control.doorbell) && !heard(control.done) && !ended.stop_requested()) {
    }
    std::copy_n(from.data(), from.size().count, to.data());
  });
  launch();
}

void expect_handed_over(const TestDevice& on, const Case& c) {
  const LaneShape shape{.rows = kMostRows,
                        .experts_used = kUsed,
                        .embedding = kEmbedding,
                        .with_values = c.with_values};
  const Bytes bytes = lane_block_bytes(shape);
  const auto memory = MappedMemory::try_allocate(*on.device, bytes);
  const auto seen = MappedMemory::try_allocate(*on.device, bytes);
  const LaneBlock to = lane_block_at(memory->data(), shape);
  const LaneBlock block = lane_block_at(seen->data(), shape);
  Random random(c.rows);
  const TestActivations x(c.rows, kEmbedding, random);
  const DeviceActivations on_device_x(on, x.view());
  std::vector<LaneJob> list(shape.pairs());
  std::vector<std::uint32_t> rows(shape.pairs());
  for (std::uint32_t i = 0; i < shape.pairs(); ++i) {
    list[i] = {.expert = 10 + i, .begin = 2 * i, .rows = 2};
    rows[i] = i % c.rows;
  }
  const std::vector<float> weights = normal_floats(random, shape.pairs());
  const DeviceArray<LaneJob> jobs(on, list);
  const DeviceArray<std::uint32_t> count(on, std::vector{c.jobs}), x_rows(on, rows);
  const DeviceArray<float> x_weights(on, weights);
  watch(*to.control, *memory, *seen, [&] {
    on.kernels->hand_over({.jobs = jobs.data(),
                           .job_count = count.data(),
                           .x_rows = x_rows.data(),
                           .x_weights = c.weighed ? x_weights.data() : nullptr,
                           .x = on_device_x.view(),
                           .to = to,
                           .stamp = kStamp},
                          on.stream->native());
    on.stream->synchronize();
  });

  SCOPED_TRACE(fmt::format("{}: {} rows, {} jobs", on.name, c.rows, c.jobs));
  EXPECT_EQ(block.control->doorbell, c.jobs == 0 ? 0 : kStamp);
  EXPECT_EQ(block.control->done, c.jobs == 0 ? kStamp : 0);
  EXPECT_EQ(block.control->job_count, c.jobs);
  const std::size_t pairs = c.jobs == 0 ? 0 : c.rows * kUsed;
  const std::size_t values = c.jobs == 0 ? 0 : std::size_t{c.rows} * block.x.stride;
  EXPECT_EQ(std::memcmp(block.jobs, list.data(), c.jobs * sizeof(LaneJob)), 0);
  EXPECT_EQ(copied(block.x_rows, pairs), copied(rows.data(), pairs));
  EXPECT_EQ(copied(block.x_weights, pairs),
            c.weighed ? copied(weights.data(), pairs) : std::vector<float>(pairs));
  EXPECT_EQ(copied(block.x.codes, values), copied(x.view().codes, values));
  EXPECT_EQ(copied(block.x.scales, values / 32), copied(x.view().scales, values / 32));
  EXPECT_EQ(copied(block.x.sums, values / 16), copied(x.view().sums, values / 16));
  ASSERT_EQ(block.x.values != nullptr, c.with_values);
  if (c.with_values) {
    EXPECT_EQ(copied(block.x.values, values), copied(x.view().values, values));
  }
  EXPECT_EQ(std::memcmp(memory->data(), seen->data(), bytes.count), 0);  // the bell came last
  // Behind what there was nothing is written, and results are the CPU's.
  const std::size_t left = shape.pairs() * sizeof(LaneJob) - c.jobs * sizeof(LaneJob);
  const auto* after = reinterpret_cast<const std::byte*>(block.jobs + c.jobs);
  EXPECT_EQ(copied(after, left), std::vector<std::byte>(left));
  EXPECT_EQ(copied(block.results, shape.pairs() * kEmbedding),
            std::vector<float>(shape.pairs() * kEmbedding));
}

TEST(HandOver, PutsAllOfAPartIntoTheBlock) {
  constexpr int kRounds = 4;  // of what depends on who is faster
  for (const TestDevice& on : test_devices())
    for (int round = 0; round < kRounds; ++round) {
      expect_handed_over(on, {});
      expect_handed_over(on, {.rows = 1, .jobs = 1, .weighed = false});
      expect_handed_over(on, {.rows = kMostRows, .jobs = kMostRows * kUsed, .with_values = true});
    }
}

TEST(HandOver, WithoutWorkSaysSoItself) {
  for (const TestDevice& on : test_devices()) expect_handed_over(on, {.jobs = 0});
}

TEST(LaneBlock, HasItsSizeToTheByteAndPartsThatDoNotOverlap) {
  const LaneShape shape{.rows = 2, .experts_used = 3, .embedding = 100, .with_values = true};
  // Control 3 lines; 6 jobs of 12 bytes, 6 rows, 6 weights: 128 + 64 + 64; two rows of 256 values,
  // codes, scales and sums: 2048 + 512 + 64 + 64; 6 results of 400 bytes: 2432.
  EXPECT_EQ(lane_block_bytes(shape), Bytes(192 + 256 + 2688 + 2432));
  std::vector<std::byte> memory(lane_block_bytes(shape).count);
  const LaneBlock block = lane_block_at(memory.data(), shape);
  const std::byte* ends[] = {reinterpret_cast<std::byte*>(block.control + 1),
                             reinterpret_cast<std::byte*>(block.jobs + 6),
                             reinterpret_cast<std::byte*>(block.x_rows + 6),
                             reinterpret_cast<std::byte*>(block.x_weights + 6),
                             reinterpret_cast<std::byte*>(block.x.values + 512),
                             reinterpret_cast<std::byte*>(block.x.codes + 512),
                             reinterpret_cast<std::byte*>(block.x.scales + 16),
                             reinterpret_cast<std::byte*>(block.x.sums + 32),
                             reinterpret_cast<std::byte*>(block.results + 600)};
  const void* begins[] = {block.jobs,     block.x_rows,  block.x_weights,
                          block.x.values, block.x.codes, block.x.scales,
                          block.x.sums,   block.results, memory.data() + memory.size()};
  for (std::size_t i = 0; i < std::size(ends); ++i) {
    EXPECT_LE(ends[i], begins[i]) << i;
    EXPECT_LT(static_cast<const std::byte*>(begins[i]) - ends[i], 64) << i;
  }
}

}  // namespace
}  // namespace hearth::kernels
