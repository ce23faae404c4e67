#include "tests/io/support/reader_testing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/random.h"
#include "io/reader_backends.h"

namespace hearth::io {

RandomFile::RandomFile(std::size_t size, std::uint64_t seed) : bytes_(size) {
  Random random(seed);
  for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random.next());
  path_ = (std::filesystem::temp_directory_path() / "hearth_reader_XXXXXX").string();
  const int fd = mkstemp(path_.data());
  EXPECT_GE(fd, 0);
  close(fd);
  std::ofstream out(path_, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes_.data()), static_cast<std::streamsize>(size));
}

RandomFile::~RandomFile() {
  std::error_code ignored;  // a test may have removed it
  std::filesystem::remove(path_, ignored);
}

GuardedBuffer::GuardedBuffer(std::size_t size)
    : size_(size),
      memory_(
          static_cast<std::byte*>(std::aligned_alloc(kGuard, round_up(size, kGuard) + 2 * kGuard)),
          &std::free) {
  std::fill_n(memory_.get(), size + 2 * kGuard, kPattern);
}

bool GuardedBuffer::guards_intact() const {
  const auto intact = [](std::byte byte) { return byte == kPattern; };
  return std::all_of(memory_.get(), memory_.get() + kGuard, intact) &&
         std::all_of(memory_.get() + kGuard + size_, memory_.get() + 2 * kGuard + size_, intact);
}

void FaultyCalls::arm(Fault fault) {
  fault_ = std::move(fault);
  attempts_ = 0;
}

int FaultyCalls::open(const char* path, int flags) {
  if ((flags & O_DIRECT) != 0 && direct_open_refusal != 0) return -direct_open_refusal;
  return KernelCalls::open(path, flags);
}

int FaultyCalls::set_up_ring(unsigned entries, io_uring* ring, io_uring_params* params) {
  return ring_refusal != 0 ? -ring_refusal : KernelCalls::set_up_ring(entries, ring, params);
}

int FaultyCalls::register_buffers(io_uring* ring, const iovec* buffers, unsigned count) {
  return buffers_refusal != 0 ? -buffers_refusal
                              : KernelCalls::register_buffers(ring, buffers, count);
}

int FaultyCalls::enter(io_uring* ring, unsigned completions) {
  return enter_refusal != 0 ? -enter_refusal : KernelCalls::enter(ring, completions);
}

std::int32_t FaultyCalls::read_result(std::span<std::byte> destination, std::int32_t result) {
  const std::uint64_t attempt = attempts_++;
  const std::int32_t seen = fault_ ? fault_(attempt, result) : result;
  if (seen != result)
    for (std::byte& byte : destination.subspan(static_cast<std::size_t>(std::max(seen, 0))))
      byte = std::byte{0xee};
  return seen;
}

void PrintTo(const ReaderRow& row, std::ostream* out) { *out << row.name; }

std::vector<ReaderRow> reader_rows() {
  return {{IoBackend::kUring, DirectIo::kAuto, "uring_direct"},
          {IoBackend::kUring, DirectIo::kOff, "uring_page_cache"},
          {IoBackend::kPread, DirectIo::kAuto, "pread_direct"},
          {IoBackend::kPread, DirectIo::kOff, "pread_page_cache"}};
}

std::unique_ptr<AsyncReader> open_row(const ReaderRow& row, const std::vector<std::string>& paths,
                                      KernelCalls& calls, ReaderOptions options) {
  options.backend = row.backend;
  options.direct = row.direct;
  try {
    return open_reader(paths, options, calls);
  } catch (const Error& error) {
    const std::string text = error.what();
    if (row.backend != IoBackend::kUring || text.find("io_uring") == std::string::npos) throw;
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(text.find("use --io pread"), std::string::npos) << text;
  }
  options.backend = IoBackend::kAuto;
  auto reader = open_reader(paths, options, calls);
  EXPECT_NE(reader->description().find("io_uring refused"), std::string::npos);
  return reader;
}

RangeRead::RangeRead(std::uint64_t range_offset, std::uint64_t range_length, std::uint64_t tag,
                     std::span<std::byte>& memory, const AsyncReader& reader)
    : offset(range_offset),
      length(range_length),
      window(read_window(range_offset, range_length, reader.alignment())) {
  request = {.offset = window.offset,
             .destination = memory.first(window.length),
             .needed = window.needed,
             .tag = tag};
  memory = memory.subspan(window.length);
}

bool RangeRead::holds(std::span<const std::byte> file) const {
  return std::memcmp(request.destination.data() + window.skip, file.data() + offset, length) == 0;
}

std::vector<ReadCompletion> reap_all(AsyncReader& reader) {
  std::vector<ReadCompletion> all;
  std::vector<ReadCompletion> some(7);
  while (const std::size_t count = reader.reap(some, AsyncReader::Wait::kOne))
    all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
  EXPECT_EQ(reader.outstanding(), 0u);
  return all;
}

}  // namespace hearth::io
