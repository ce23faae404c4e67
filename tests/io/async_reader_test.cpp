#include "io/async_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "io/arena.h"
#include "io/reader_backends.h"
#include "tests/io/support/allocation_count.h"
#include "tests/io/support/reader_testing.h"

namespace hearth::io {
namespace {

using Wait = AsyncReader::Wait;

constexpr std::size_t kFileSize = (5u << 20) + 137;

const RandomFile& shared_file() {
  static const RandomFile file(kFileSize);
  return file;
}

class AsyncReaderTest : public testing::TestWithParam<ReaderRow> {
 protected:
  std::unique_ptr<AsyncReader> open(const std::string& path, const ReaderOptions& options = {}) {
    return open_row(GetParam(), {path}, calls_, options);
  }
  FaultyCalls calls_;
};

INSTANTIATE_TEST_SUITE_P(Rows, AsyncReaderTest, testing::ValuesIn(reader_rows()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_P(AsyncReaderTest, RandomRangesHoldTheBytesOfTheFile) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path(), {.queue_depth = 8});
  Random random(7);
  std::uint64_t transferred = 0;
  for (int round = 0; round < 10; ++round) {
    const GuardedBuffer buffer(40 * (100'000 + 2 * 4096));
    std::span<std::byte> memory = buffer.bytes();
    std::vector<RangeRead> reads;
    std::vector<ReadRequest> requests;
    for (std::uint64_t i = 0; i < 40; ++i) {
      const std::uint64_t length = 1 + random.below(i % 4 == 0 ? 100'000 : 600);
      const std::uint64_t offset = i % 5 == 0
                                       ? kFileSize - length
                                       : random.below(kFileSize - length + 1);  // some at the end
      reads.emplace_back(offset, length, i, memory, *reader);
      requests.push_back(reads.back().request);
      transferred += std::min(reads.back().window.length, kFileSize - reads.back().window.offset);
    }
    reader->submit(std::span(requests).first(15));
    reader->submit(std::span(requests).subspan(15));

    std::set<std::uint64_t> tags;
    for (const ReadCompletion& completion : reap_all(*reader)) {
      EXPECT_EQ(completion.error, 0);
      tags.insert(completion.tag);
    }
    EXPECT_EQ(tags.size(), requests.size());
    for (const RangeRead& read : reads) EXPECT_TRUE(read.holds(file.bytes())) << read.offset;
    EXPECT_TRUE(buffer.guards_intact());
  }
  EXPECT_EQ(reader->bytes_read().count, transferred);
}

TEST_P(AsyncReaderTest, OneRequestMayCoverTheWholeFile) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path(), {.queue_depth = 2});
  const GuardedBuffer buffer(kFileSize + 4096);
  std::span<std::byte> memory = buffer.bytes();
  const RangeRead read(0, kFileSize, 42, memory, *reader);
  reader->submit({&read.request, 1});
  const auto completions = reap_all(*reader);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].tag, 42u);
  EXPECT_EQ(completions[0].error, 0);
  EXPECT_TRUE(read.holds(file.bytes()));
  EXPECT_TRUE(buffer.guards_intact());
  EXPECT_EQ(reader->bytes_read().count, kFileSize);
}

TEST_P(AsyncReaderTest, ReadingPastTheEndIsReportedAndHarmsNoOtherRead) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path());
  const GuardedBuffer buffer(1 << 20);
  std::span<std::byte> memory = buffer.bytes();
  const RangeRead reads[] = {{kFileSize - 100, 101, 0, memory, *reader},
                             {kFileSize - 100, 100, 1, memory, *reader},
                             {kFileSize + 10'000, 5, 2, memory, *reader}};
  for (const RangeRead& read : reads) reader->submit({&read.request, 1});
  for (const ReadCompletion& completion : reap_all(*reader))
    EXPECT_EQ(completion.error, completion.tag == 1 ? 0 : ReadCompletion::kUnexpectedEnd);
  EXPECT_TRUE(reads[1].holds(file.bytes()));
}

TEST_P(AsyncReaderTest, AFileMayBeTruncatedOrRemovedUnderTheReader) {
  const RandomFile file(1 << 20);
  const auto reader = open(file.path());
  std::filesystem::resize_file(file.path(), 300'000);
  std::filesystem::remove(file.path());
  const GuardedBuffer buffer(1 << 20);
  std::span<std::byte> memory = buffer.bytes();
  const RangeRead reads[] = {{299'000, 1'000, 0, memory, *reader},
                             {299'000, 1'001, 1, memory, *reader},
                             {700'000, 10, 2, memory, *reader}};
  for (const RangeRead& read : reads) reader->submit({&read.request, 1});
  for (const ReadCompletion& completion : reap_all(*reader))
    EXPECT_EQ(completion.error, completion.tag == 0 ? 0 : ReadCompletion::kUnexpectedEnd);
  EXPECT_TRUE(reads[0].holds(file.bytes()));
}

TEST_P(AsyncReaderTest, EachFileOfASetIsReadFromItsOwn) {
  const RandomFile first(10'000, 1);
  const RandomFile second(20'000, 2);
  const auto reader = open_row(GetParam(), {first.path(), second.path()}, calls_);
  const GuardedBuffer buffer(64 << 10);
  std::span<std::byte> memory = buffer.bytes();
  RangeRead a(77, 9'000, 0, memory, *reader);
  RangeRead b(77, 9'000, 1, memory, *reader);
  b.request.file = 1;
  reader->submit({&a.request, 1});
  reader->submit({&b.request, 1});
  for (const ReadCompletion& completion : reap_all(*reader)) EXPECT_EQ(completion.error, 0);
  EXPECT_TRUE(a.holds(first.bytes()));
  EXPECT_TRUE(b.holds(second.bytes()));
}

TEST_P(AsyncReaderTest, AnEmptyRequestIsFinishedAtOnce) {
  const auto reader = open(shared_file().path());
  ReadRequest request;
  request.tag = 9;
  reader->submit({&request, 1});
  ReadCompletion completion;
  ASSERT_EQ(reader->reap({&completion, 1}, Wait::kNow), 1u);
  EXPECT_EQ(completion.tag, 9u);
  EXPECT_EQ(completion.error, 0);
}

TEST_P(AsyncReaderTest, ReapReturnsNothingWhenNothingIsOutstanding) {
  const auto reader = open(shared_file().path());
  ReadCompletion completion;
  EXPECT_EQ(reader->reap({&completion, 1}, Wait::kNow), 0u);
  EXPECT_EQ(reader->reap({&completion, 1}, Wait::kOne), 0u);
}

TEST_P(AsyncReaderTest, PollingAloneFinishesMoreReadsThanFitInTheQueue) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path(), {.queue_depth = 2});
  const GuardedBuffer buffer(1 << 20);
  std::span<std::byte> memory = buffer.bytes();
  std::vector<RangeRead> reads;
  for (std::uint64_t i = 0; i < 20; ++i) reads.emplace_back(i * 9'999, 5'000, i, memory, *reader);
  for (const RangeRead& read : reads) reader->submit({&read.request, 1});
  std::size_t finished = 0;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (finished < reads.size() && std::chrono::steady_clock::now() < give_up) {
    ReadCompletion completion;
    finished += reader->reap({&completion, 1}, Wait::kNow);
  }
  EXPECT_EQ(finished, reads.size());
  for (const RangeRead& read : reads) EXPECT_TRUE(read.holds(file.bytes()));
}

TEST_P(AsyncReaderTest, MemoryInsideAndOutsideTheRegisteredSpan) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path());
  const GuardedBuffer inside(1 << 20);
  const GuardedBuffer outside(1 << 20);
  // The last read lies across the end of the registered span.
  reader->register_memory(inside.bytes().first(512 << 10));
  std::span<std::byte> in = inside.bytes();
  std::span<std::byte> out = outside.bytes();
  const RangeRead reads[] = {
      {11, 300'000, 0, in, *reader}, {22, 300'000, 1, out, *reader}, {33, 300'000, 2, in, *reader}};
  for (const RangeRead& read : reads) reader->submit({&read.request, 1});
  for (const ReadCompletion& completion : reap_all(*reader)) EXPECT_EQ(completion.error, 0);
  for (const RangeRead& read : reads) EXPECT_TRUE(read.holds(file.bytes()));
}

// Pages that were given back and taken again are others: a read must not go to the old ones.
TEST_P(AsyncReaderTest, MemoryMayBeRegisteredAnewInParts) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path());
  Arena arena(Bytes(1 << 20));
  const std::span<std::byte> all = arena.bytes(), front = all.first(256 << 10),
                             back = all.subspan(512 << 10);
  reader->register_memory(all);
  const auto read_everywhere = [&] {
    std::span<std::byte> first = front, second = back;
    const RangeRead reads[] = {{11, 100'000, 0, first, *reader}, {22, 300'000, 1, second, *reader}};
    for (const RangeRead& read : reads) reader->submit({&read.request, 1});
    for (const ReadCompletion& completion : reap_all(*reader)) EXPECT_EQ(completion.error, 0);
    for (const RangeRead& read : reads) EXPECT_TRUE(read.holds(file.bytes()));
  };
  read_everywhere();
  reader->register_memory(front);
  arena.give_back(all.subspan(front.size()));
  EXPECT_EQ(back[0], std::byte{0});
  arena.take_again(all.subspan(front.size()));
  const std::span<std::byte> regions[] = {front, back};
  reader->register_memory(regions);
  read_everywhere();
}

TEST_P(AsyncReaderTest, NothingIsWrittenAfterTheDestructor) {
  const auto calls = std::make_unique<FaultyCalls>();
  for (int round = 0; round < 20; ++round) {
    const GuardedBuffer buffer(8 << 20);
    {
      const auto reader = open_row(GetParam(), {shared_file().path()}, *calls, {.queue_depth = 4});
      std::span<std::byte> memory = buffer.bytes();
      for (std::uint64_t i = 0; i < 30; ++i) {
        const RangeRead read(i * 100'000, 200'000, i, memory, *reader);
        reader->submit({&read.request, 1});
      }
      ReadCompletion completion;
      if (round % 2 == 0) reader->reap({&completion, 1}, Wait::kOne);
    }
    std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{0x11});
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(std::all_of(buffer.bytes().begin(), buffer.bytes().end(),
                            [](std::byte byte) { return byte == std::byte{0x11}; }));
    EXPECT_TRUE(buffer.guards_intact());
  }
}

TEST_P(AsyncReaderTest, MayBeUsedAndDestroyedInOtherThreads) {
  const RandomFile& file = shared_file();
  auto reader = open(file.path());
  std::thread([&] {
    const GuardedBuffer buffer(1 << 20);
    reader->register_memory(buffer.bytes());
    std::span<std::byte> memory = buffer.bytes();
    const RangeRead read(12'345, 500'000, 0, memory, *reader);
    reader->submit({&read.request, 1});
    EXPECT_EQ(reap_all(*reader).size(), 1u);
    EXPECT_TRUE(read.holds(file.bytes()));
  }).join();
  reader.reset();
}

// The kernel gives up what a thread that ends has submitted and what is not yet with the disk.
TEST_P(AsyncReaderTest, ReadsOfAThreadThatEndedArrive) {
  const RandomFile& file = shared_file();
  const auto reader = open(file.path());
  const GuardedBuffer buffer(8 << 20);
  for (int round = 0; round < 30; ++round) {
    const int fd = ::open(file.path().c_str(), O_RDONLY);
    ASSERT_GE(fd, 0);
    fdatasync(fd);  // only clean pages leave the cache
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    std::ranges::fill(buffer.bytes(), std::byte{0});
    std::span<std::byte> memory = buffer.bytes();
    std::vector<RangeRead> reads;
    for (std::uint64_t i = 0; i < 10; ++i)
      reads.emplace_back(i * 500'000, 500'000, i, memory, *reader);
    std::thread([&] {
      for (const RangeRead& read : reads) reader->submit({&read.request, 1});
    }).join();
    for (const ReadCompletion& completion : reap_all(*reader)) EXPECT_EQ(completion.error, 0);
    for (const RangeRead& read : reads) EXPECT_TRUE(read.holds(file.bytes())) << read.offset;
  }
}

TEST_P(AsyncReaderTest, AllocatesNothingAfterOpen) {
  constexpr std::uint32_t kQueued = 64;
  const auto reader = open(shared_file().path(), {.queue_depth = 4, .max_queued = kQueued});
  const GuardedBuffer buffer(kQueued * 16'384);
  std::span<std::byte> memory = buffer.bytes();
  std::vector<ReadRequest> requests;
  for (std::uint64_t i = 0; i < kQueued; ++i)
    requests.push_back(RangeRead(i * 50'000, 9'000, i, memory, *reader).request);
  std::vector<ReadCompletion> completions(kQueued);

  const std::uint64_t before = allocation_count();
  for (int round = 0; round < 5; ++round) {
    reader->submit(requests);
    std::size_t finished = 0;
    while (finished < kQueued)
      finished += reader->reap(std::span(completions).subspan(finished), Wait::kOne);
  }
  EXPECT_EQ(allocation_count(), before);
}

TEST_P(AsyncReaderTest, MaxQueuedReadsMayBeOutstandingAgainAndAgain) {
  const std::vector<ReadRequest> empty(4);
  const auto reader = open(shared_file().path(), {.max_queued = 4});
  for (int round = 0; round < 3; ++round) {
    reader->submit(empty);
    EXPECT_EQ(reader->outstanding(), 4u);
    EXPECT_EQ(reap_all(*reader).size(), 4u);
  }
}

TEST_P(AsyncReaderTest, FilesThatCannotBeReadAreNamed) {
  const auto code_and_text = [&](const std::string& path) {
    try {
      open_row(GetParam(), {path}, calls_);
    } catch (const Error& error) {
      return std::pair(error.code(), std::string(error.what()));
    }
    return std::pair(ErrorCode::kUsage, std::string());
  };
  const std::string directory = std::filesystem::temp_directory_path().string();
  const auto [missing, missing_text] = code_and_text(directory + "/hearth_no_such_file");
  EXPECT_EQ(missing, ErrorCode::kNotFound);
  EXPECT_NE(missing_text.find("hearth_no_such_file"), std::string::npos);
  const auto [wrong, wrong_text] = code_and_text(directory);
  EXPECT_EQ(wrong, ErrorCode::kIo);
  EXPECT_NE(wrong_text.find(directory), std::string::npos);
}

TEST(IoBackendName, Parses) {
  EXPECT_EQ(parse_io_backend("auto"), IoBackend::kAuto);
  EXPECT_EQ(parse_io_backend("uring"), IoBackend::kUring);
  EXPECT_EQ(parse_io_backend("pread"), IoBackend::kPread);
  EXPECT_EQ(parse_io_backend("mmap"), std::nullopt);
}

// HEARTH_IO for the length of a test, and what it was before afterwards.
class EnvironmentBackend {
 public:
  explicit EnvironmentBackend(const char* name) {
    if (const char* const value = std::getenv("HEARTH_IO")) before_ = value;
    setenv("HEARTH_IO", name, 1);
  }
  ~EnvironmentBackend() {
    before_ ? setenv("HEARTH_IO", before_->c_str(), 1) : unsetenv("HEARTH_IO");
  }

 private:
  std::optional<std::string> before_;
};

TEST(IoBackendName, TheEnvironmentDecidesWhereTheCallerDoesNot) {
  const std::vector<std::string> paths = {shared_file().path()};
  {
    const EnvironmentBackend pread("pread");
    EXPECT_NE(AsyncReader::open(paths, {})->description().find("pread"), std::string::npos);
  }
  const EnvironmentBackend nonsense("nonsense");
  EXPECT_THROW(AsyncReader::open(paths, {}), Error);
  EXPECT_NO_THROW(AsyncReader::open(paths, {.backend = IoBackend::kPread}));
}

}  // namespace
}  // namespace hearth::io
