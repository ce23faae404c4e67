#include "io/disk_probe.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "io/arena.h"
#include "tests/io/support/reader_testing.h"

namespace hearth::io {
namespace {

class DiskProbeTest : public testing::TestWithParam<ReaderRow> {};

INSTANTIATE_TEST_SUITE_P(Rows, DiskProbeTest, testing::ValuesIn(reader_rows()),
                         [](const auto& row) { return std::string(row.param.name); });

// Each look at it is a millisecond later.
class StepClock final : public Clock {
 public:
  Nanoseconds now() const override { return now_ += std::chrono::milliseconds(1); }

 private:
  mutable Nanoseconds now_{};
};

TEST_P(DiskProbeTest, StopsAfterTheBytesAskedFor) {
  FaultyCalls calls;
  const RandomFile file(3 << 20);
  const auto reader = open_row(GetParam(), {file.path()}, calls);
  const DiskRate rate = probe_disk(*reader, {.file_size = Bytes(file.bytes().size()),
                                             .read_size = 64 * kKiB,
                                             .queue_depth = 4,
                                             .max_bytes = 10 * kMiB,
                                             .max_time = std::chrono::hours(1)});
  EXPECT_EQ(rate.bytes, 10 * kMiB);
  EXPECT_GT(rate.time.count(), 0);
  EXPECT_GT(rate.bytes_per_second(), 0);
}

TEST_P(DiskProbeTest, StopsAfterTheTimeAskedFor) {
  FaultyCalls calls;
  const RandomFile file(1 << 20);
  const auto reader = open_row(GetParam(), {file.path()}, calls);
  const StepClock clock;
  const DiskRate rate = probe_disk(*reader,
                                   {.file_size = Bytes(file.bytes().size()),
                                    .read_size = 4 * kKiB,
                                    .queue_depth = 2,
                                    .max_bytes = kGiB,
                                    .max_time = std::chrono::milliseconds(50)},
                                   clock);
  // One look at the start, one for each finished read, one at the end: reads 50 and later are not
  // replaced, so that 49 are, beside the first two.
  EXPECT_EQ(rate.bytes, 51 * 4 * kKiB);
  EXPECT_EQ(rate.time, std::chrono::milliseconds(52));
}

TEST_P(DiskProbeTest, AFileSmallerThanOneReadIsReadWhole) {
  FaultyCalls calls;
  const RandomFile file(5'001);
  const auto reader = open_row(GetParam(), {file.path()}, calls);
  const DiskRate rate =
      probe_disk(*reader, {.file_size = Bytes(5'001), .queue_depth = 3, .max_bytes = 100 * kKiB});
  EXPECT_GE(rate.bytes, 100 * kKiB);
  EXPECT_EQ(rate.bytes.count % 5'001, 0u);
}

TEST_P(DiskProbeTest, TheMedianIsTheTimeOfARead) {
  FaultyCalls calls;
  const RandomFile file(1 << 20);
  const auto reader = open_row(GetParam(), {file.path()}, calls);
  const StepClock clock;
  const DiskRate rate = probe_disk(*reader,
                                   {.file_size = Bytes(file.bytes().size()),
                                    .read_size = 4 * kKiB,
                                    .queue_depth = 1,
                                    .max_time = std::chrono::milliseconds(20)},
                                   clock);
  EXPECT_EQ(rate.median, std::chrono::milliseconds(1));  // a look at each end of every read
}

TEST_P(DiskProbeTest, ReadsGoToAllOfTheMemoryGiven) {
  FaultyCalls calls;
  const RandomFile file(1 << 20);
  const auto reader = open_row(GetParam(), {file.path()}, calls);
  const Arena memory(kMiB);
  probe_disk(*reader, {.file_size = Bytes(file.bytes().size()),
                       .read_size = 16 * kKiB,
                       .queue_depth = 3,
                       .max_bytes = 8 * kMiB,
                       .max_time = std::chrono::hours(1),
                       .memory = memory.bytes()});
  // 64 places are 21 for each of three requests; a random kilobyte of zeros does not exist.
  for (std::size_t place = 0; place < 63; ++place) {
    const auto kilobyte = memory.bytes().subspan(place * (16 << 10), 1 << 10);
    EXPECT_TRUE(std::ranges::any_of(kilobyte, [](std::byte b) { return b != std::byte{0}; }))
        << place;
  }
}

TEST_P(DiskProbeTest, FailuresAreErrors) {
  FaultyCalls calls;
  const RandomFile file(1 << 20);
  const auto reader = open_row(GetParam(), {file.path()}, calls);
  EXPECT_THROW(probe_disk(*reader, {.file_size = Bytes(0)}), Error);
  calls.arm([](std::uint64_t attempt, std::int32_t got) { return attempt == 5 ? -5 : got; });
  EXPECT_THROW(probe_disk(*reader, {.file_size = kMiB, .read_size = 16 * kKiB}), Error);
  EXPECT_EQ(reader->outstanding(), 0u);
}

}  // namespace
}  // namespace hearth::io
