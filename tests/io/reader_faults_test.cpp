// Every read attempt of a workload fails once, in every way, in both back ends: either all bytes
// arrive nevertheless, or exactly the read that was hit reports the error.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <set>
#include <thread>

#include "base/error.h"
#include "io/reader_backends.h"
#include "tests/io/support/reader_testing.h"

namespace hearth::io {
namespace {

constexpr std::size_t kFileSize = (3u << 20) + 1'234;

const RandomFile& shared_file() {
  static const RandomFile file(kFileSize, 3);
  return file;
}

struct Outcome {
  std::vector<std::pair<std::uint64_t, int>> failed;  // tag, error
  std::uint64_t attempts = 0;
  std::string description;
};

// Reads eight ranges, one of several pieces and two at the end of the file; checks every byte of
// the reads that succeed.
Outcome read_with(const ReaderRow& row, FaultyCalls& calls, FaultyCalls::Fault fault,
                  std::uint32_t queue_depth) {
  const RandomFile& file = shared_file();
  const auto reader = open_row(row, {file.path()}, calls, {.queue_depth = queue_depth});
  const GuardedBuffer buffer(4 << 20);
  if (queue_depth % 2 == 0) reader->register_memory(buffer.bytes());
  std::span<std::byte> memory = buffer.bytes();
  std::vector<RangeRead> reads;
  const std::pair<std::uint64_t, std::uint64_t> ranges[] = {
      {0, 1},      {513, 5'000},       {100'001, 1'600'000},         {4'096, 4'096},
      {70'000, 3}, {kFileSize - 9, 9}, {kFileSize - 70'000, 70'000}, {2'000'000, 40'000}};
  for (const auto& [offset, length] : ranges)
    reads.emplace_back(offset, length, reads.size(), memory, *reader);

  calls.arm(std::move(fault));
  for (const RangeRead& read : reads) reader->submit({&read.request, 1});
  Outcome outcome;
  std::set<std::uint64_t> tags;
  for (const ReadCompletion& completion : reap_all(*reader)) {
    tags.insert(completion.tag);
    if (completion.error != 0)
      outcome.failed.emplace_back(completion.tag, completion.error);
    else
      EXPECT_TRUE(reads[completion.tag].holds(file.bytes())) << "read " << completion.tag;
  }
  EXPECT_EQ(tags.size(), reads.size());
  EXPECT_TRUE(buffer.guards_intact());
  outcome.attempts = calls.attempts();
  outcome.description = reader->description();
  calls.arm(nullptr);
  return outcome;
}

class ReaderFaultsTest : public testing::TestWithParam<ReaderRow> {
 protected:
  // Runs the workload once for each of its attempts, which then gives `result(bytes)`.
  void hit_every_attempt(const std::function<std::int32_t(std::int32_t)>& result,
                         std::optional<int> error) {
    for (const std::uint32_t depth : {1u, 4u}) {
      const std::uint64_t attempts = read_with(GetParam(), calls_, nullptr, depth).attempts;
      ASSERT_GE(attempts, 8u);
      for (std::uint64_t hit = 0; hit < attempts; ++hit) {
        const Outcome outcome = read_with(
            GetParam(), calls_,
            [&](std::uint64_t attempt, std::int32_t got) {
              return attempt == hit ? result(got) : got;
            },
            depth);
        if (error.has_value()) {
          ASSERT_EQ(outcome.failed.size(), 1u) << "attempt " << hit;
          EXPECT_EQ(outcome.failed[0].second, *error);
        } else {
          EXPECT_TRUE(outcome.failed.empty()) << "attempt " << hit;
        }
      }
    }
  }

  FaultyCalls calls_;
};

INSTANTIATE_TEST_SUITE_P(Rows, ReaderFaultsTest, testing::ValuesIn(reader_rows()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_P(ReaderFaultsTest, WhatCannotPassIsReportedForItsReadAlone) {
  for (const int code : {EIO, EBADF}) hit_every_attempt([&](std::int32_t) { return -code; }, code);
}

TEST_P(ReaderFaultsTest, WhatMayPassIsAttemptedAgain) {
  for (const int code : {EINTR, EAGAIN, ECANCELED, EFAULT})
    hit_every_attempt([&](std::int32_t) { return -code; }, std::nullopt);
}

TEST_P(ReaderFaultsTest, ARefusalOfDirectReadsGoesThroughThePageCache) {
  hit_every_attempt([](std::int32_t) { return -EINVAL; }, std::nullopt);
}

TEST_P(ReaderFaultsTest, AnEndThatIsNoneIsSeenThrough) {
  hit_every_attempt([](std::int32_t) { return 0; }, std::nullopt);
}

TEST_P(ReaderFaultsTest, ShortReadsAreCompleted) {
  // One byte, one block and all but one byte; never more than there was.
  for (const std::int32_t keep : {1, 512, -1})
    hit_every_attempt(
        [&](std::int32_t got) {
          return keep < 0 ? std::max(got - 1, std::min(got, 1)) : std::min(got, keep);
        },
        std::nullopt);
}

TEST_P(ReaderFaultsTest, EveryReadShortAtOnce) {
  const Outcome outcome = read_with(
      GetParam(), calls_,
      [](std::uint64_t, std::int32_t got) { return std::min(got, 1 + got / 3); }, 4);
  EXPECT_TRUE(outcome.failed.empty());
}

TEST_P(ReaderFaultsTest, RepeatsAreBounded) {
  for (const int code : {EINTR, EAGAIN, ECANCELED, EFAULT}) {
    const Outcome outcome =
        read_with(GetParam(), calls_, [&](std::uint64_t, std::int32_t) { return -code; }, 4);
    ASSERT_EQ(outcome.failed.size(), 8u);
    for (const auto& [tag, error] : outcome.failed) EXPECT_EQ(error, code);
  }
  const Outcome empty =
      read_with(GetParam(), calls_, [](std::uint64_t, std::int32_t) { return 0; }, 1);
  ASSERT_EQ(empty.failed.size(), 8u);
  for (const auto& [tag, error] : empty.failed) EXPECT_EQ(error, ReadCompletion::kUnexpectedEnd);
  // One piece of each read, because the first failure ends a read; one attempt and three more.
  EXPECT_EQ(empty.attempts, 8u * 4u);
}

TEST_P(ReaderFaultsTest, RepeatsAreStated) {
  const Outcome outcome = read_with(
      GetParam(), calls_,
      [](std::uint64_t attempt, std::int32_t got) { return attempt < 2 ? -EINTR : got; }, 1);
  EXPECT_NE(outcome.description.find("2 attempts repeated"), std::string::npos)
      << outcome.description;
}

TEST_P(ReaderFaultsTest, DestructionWhileReadsFail) {
  for (const int code : {EIO, EAGAIN}) {
    const GuardedBuffer buffer(4 << 20);
    const auto reader = open_row(GetParam(), {shared_file().path()}, calls_, {.queue_depth = 3});
    calls_.arm([&](std::uint64_t, std::int32_t) { return -code; });
    std::span<std::byte> memory = buffer.bytes();
    for (std::uint64_t i = 0; i < 10; ++i) {
      const RangeRead read(i * 200'000, 200'000, i, memory, *reader);
      reader->submit({&read.request, 1});
    }
  }
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// --- What the kernel refuses once a reader is open.

bool holds_only(std::span<const std::byte> memory, std::byte value) {
  return std::ranges::all_of(memory, [&](std::byte byte) { return byte == value; });
}

// Ten reads, the last seven of which the kernel does not take where it can refuse them.
void submit_and_be_refused(AsyncReader& reader, FaultyCalls& calls, std::span<std::byte> memory,
                           int refusal) {
  const bool uring = contains(reader.description(), "io_uring, ");
  for (std::uint64_t i = 0; i < 10; ++i) {
    const RangeRead read(i * 200'000, 200'000, i, memory, reader);
    if (i == 3) calls.enter_refusal = refusal;
    if (uring && i >= 3)
      EXPECT_THROW(reader.submit({&read.request, 1}), Error);
    else
      reader.submit({&read.request, 1});
  }
}

TEST_P(ReaderFaultsTest, ARefusedReaderCanBeDestroyedAndNothingIsWrittenAfterwards) {
  for (int round = 0; round < 20; ++round) {
    const GuardedBuffer buffer(4 << 20);
    auto reader = open_row(GetParam(), {shared_file().path()}, calls_, {.queue_depth = 8});
    submit_and_be_refused(*reader, calls_, buffer.bytes(), EPERM);
    reader.reset();
    calls_.enter_refusal = 0;
    std::ranges::fill(buffer.bytes(), std::byte{0x11});
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(holds_only(buffer.bytes(), std::byte{0x11}));
  }
}

TEST_P(ReaderFaultsTest, EndedReadsAreNotMadeByTheNext) {
  const auto reader = open_row(GetParam(), {shared_file().path()}, calls_, {.queue_depth = 8});
  for (int round = 0; round < 20; ++round) {
    const GuardedBuffer ended(4 << 20), next(4 << 20);
    submit_and_be_refused(*reader, calls_, ended.bytes(), EPERM);
    reader->end_reads();
    EXPECT_EQ(reader->outstanding(), 0u);
    calls_.enter_refusal = 0;
    std::ranges::fill(ended.bytes(), std::byte{0x11});

    std::span<std::byte> memory = next.bytes();
    std::vector<RangeRead> reads;
    for (std::uint64_t i = 0; i < 10; ++i) {
      reads.emplace_back(i * 150'000, 150'000, i, memory, *reader);
      reader->submit({&reads.back().request, 1});
    }
    EXPECT_EQ(reap_all(*reader).size(), reads.size());
    for (const RangeRead& read : reads) EXPECT_TRUE(read.holds(shared_file().bytes()));
    EXPECT_TRUE(holds_only(ended.bytes(), std::byte{0x11}));
  }
}

// --- What the system refuses when a reader is opened.

std::string read_and_describe(const ReaderRow& row, FaultyCalls& calls) {
  const Outcome outcome = read_with(row, calls, nullptr, 4);
  EXPECT_TRUE(outcome.failed.empty());
  return outcome.description;
}

TEST(RefusedUring, AutoFallsBackAndSaysWhy) {
  for (const int code : {EPERM, ENOSYS, ENOMEM}) {
    FaultyCalls calls;
    calls.ring_refusal = code;
    const auto reader = open_reader({shared_file().path()}, {}, calls);
    EXPECT_TRUE(contains(reader->description(), "pread")) << reader->description();
    EXPECT_TRUE(contains(reader->description(), std::strerror(code))) << reader->description();
    // The whole table holds for the fallback, too.
    read_and_describe({IoBackend::kAuto, DirectIo::kAuto, "auto"}, calls);
  }
}

TEST(RefusedUring, AskedForByNameIsAnError) {
  FaultyCalls calls;
  calls.ring_refusal = EPERM;
  try {
    open_reader({shared_file().path()}, {.backend = IoBackend::kUring}, calls);
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_TRUE(contains(error.what(), std::strerror(EPERM))) << error.what();
    EXPECT_TRUE(contains(error.what(), "use --io pread")) << error.what();
  }
}

TEST_P(ReaderFaultsTest, RefusedRegistrationReadsUnregistered) {
  calls_.buffers_refusal = ENOMEM;
  const std::string description = read_and_describe(GetParam(), calls_);
  EXPECT_EQ(contains(description, "memory not registered"), contains(description, "io_uring, "))
      << description;
}

TEST_P(ReaderFaultsTest, DirectRefusedAtOpenReadsThroughThePageCache) {
  calls_.direct_open_refusal = EINVAL;
  const auto reader = open_row(GetParam(), {shared_file().path()}, calls_);
  EXPECT_EQ(reader->alignment(), 1u);
  EXPECT_FALSE(reader->direct());
  const std::string description = read_and_describe(GetParam(), calls_);
  EXPECT_TRUE(contains(description, "page cache")) << description;
  EXPECT_EQ(contains(description, "O_DIRECT refused"), GetParam().direct == DirectIo::kAuto);
}

TEST_P(ReaderFaultsTest, DirectRefusedAtTheFirstReadReadsThroughThePageCache) {
  calls_.arm([](std::uint64_t, std::int32_t) { return -EINVAL; });
  const auto reader = open_row(GetParam(), {shared_file().path()}, calls_);
  calls_.arm(nullptr);
  EXPECT_EQ(reader->alignment(), 1u);
  EXPECT_TRUE(contains(reader->description(), "page cache")) << reader->description();
}

}  // namespace
}  // namespace hearth::io
