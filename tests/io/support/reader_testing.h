// What the tests of the readers share: a file of known bytes, a buffer with guards around it, and
// system calls that fail on request.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/async_reader.h"
#include "io/kernel_calls.h"
#include "io/read_window.h"

namespace hearth::io {

// A file of seeded random bytes, removed at the end.
class RandomFile {
 public:
  explicit RandomFile(std::size_t size, std::uint64_t seed = 1);
  ~RandomFile();
  RandomFile(const RandomFile&) = delete;
  RandomFile& operator=(const RandomFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::string path_;
  std::vector<std::byte> bytes_;
};

// Page-aligned memory filled with a pattern, between two guards.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t size);
  std::span<std::byte> bytes() const { return {memory_.get() + kGuard, size_}; }
  bool guards_intact() const;

 private:
  static constexpr std::size_t kGuard = 4096;
  static constexpr std::byte kPattern{0xc5};
  std::size_t size_;
  std::unique_ptr<std::byte[], void (*)(void*)> memory_;
};

// Real system calls whose results can be replaced.
class FaultyCalls final : public KernelCalls {
 public:
  // Set before the reader is opened; errno values, 0 for none.
  int ring_refusal = 0;
  int buffers_refusal = 0;
  int direct_open_refusal = 0;
  // At any time.
  int enter_refusal = 0;

  // Attempts are counted from the last arm(); `fault` maps (number, bytes read or -errno) to what
  // the reader sees. Bytes that the reader is told were not read are overwritten, so that it
  // cannot pass by leaving them as they are. Not while reads are under way.
  using Fault = std::function<std::int32_t(std::uint64_t attempt, std::int32_t result)>;
  void arm(Fault fault);
  std::uint64_t attempts() const { return attempts_; }

  int open(const char* path, int flags) override;
  int set_up_ring(unsigned entries, io_uring* ring, io_uring_params* params) override;
  int register_buffers(io_uring* ring, const iovec* buffers, unsigned count) override;
  int enter(io_uring* ring, unsigned completions) override;
  std::int32_t read_result(std::span<std::byte> destination, std::int32_t result) override;

 private:
  Fault fault_;
  std::atomic<std::uint64_t> attempts_{0};
};

// One row of the table of behaviours.
struct ReaderRow {
  IoBackend backend;
  DirectIo direct;
  const char* name;
};
void PrintTo(const ReaderRow& row, std::ostream* out);
std::vector<ReaderRow> reader_rows();

// Opens a reader of the row. Where this system refuses io_uring, asserts that asking for it says so
// and gives the fallback instead.
std::unique_ptr<AsyncReader> open_row(const ReaderRow& row, const std::vector<std::string>& paths,
                                      KernelCalls& calls, ReaderOptions options = {});

// A byte range of the file and where it will land. The window's capacity is taken from `memory`.
struct RangeRead {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  ReadRequest request;
  ReadWindow window;

  RangeRead(std::uint64_t offset, std::uint64_t length, std::uint64_t tag,
            std::span<std::byte>& memory, const AsyncReader& reader);
  bool holds(std::span<const std::byte> file) const;
};

// Reaps until nothing is outstanding; the completions in the order they came.
std::vector<ReadCompletion> reap_all(AsyncReader& reader);

}  // namespace hearth::io
