// Files → memory, many reads in flight.
//
// Driven by one thread at a time, whichever: submit() queues, reap() collects. Two back ends with
// the same behaviour: io_uring (registered files and buffers) and a pool of threads that call
// pread. Both open the files with O_DIRECT where the file system allows it, so that experts do not
// pass through the page cache, and both retry what can be retried (short reads, EINTR, EAGAIN, what
// was cut off because the thread that submitted it ended), a bounded number of times. What still
// fails is reported in the completion, never thrown, because the reader does not know which expert
// a read was for.
//
// Lifetime: the destination of a read must stay valid until its completion was reaped or
// end_reads() returned, which the destructor calls: no read outlives the reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace hearth::io {

// `offset`, `destination.data()` and `destination.size()` are multiples of
// AsyncReader::alignment(); io/read_window.h computes such a window around any byte range. The
// window may reach past the end of the file; the read succeeds once the first `needed` bytes are
// there.
struct ReadRequest {
  std::uint32_t file = 0;  // index into the paths given to open()
  std::uint64_t offset = 0;
  std::span<std::byte> destination;
  std::uint64_t needed = 0;  // bytes from offset that must be read; <= destination.size()
  std::uint64_t tag = 0;     // returned in the completion, means nothing to the reader
};

struct ReadCompletion {
  std::uint64_t tag = 0;
  int error = 0;  // 0, or the errno of the last attempt; kUnexpectedEnd: the file ended early
  static constexpr int kUnexpectedEnd = -1;
};

// kAuto is io_uring where the system allows it, or what the environment variable HEARTH_IO names.
enum class IoBackend { kAuto, kUring, kPread };
std::optional<IoBackend> parse_io_backend(std::string_view name);  // auto, uring, pread

enum class DirectIo { kAuto, kOff };  // kOff goes through the page cache

struct ReaderOptions {
  IoBackend backend = IoBackend::kAuto;  // kUring where io_uring is refused throws Error(kIo)
  DirectIo direct = DirectIo::kAuto;
  // Pieces (512 KiB) the device has at once; more wait here, in order. A device serves what it has
  // in parallel, so that a deep queue lets what was asked for later delay what was asked for first:
  // decoding from a virtio disk, 8 to 12 gave 11 to 15 % more tokens per second than 64, and 4
  // gave 7.
  std::uint32_t queue_depth = 12;
  std::uint32_t max_queued = 4096;  // submitted and not yet reaped; all queues are sized at open
};

class AsyncReader {
 public:
  // Throws Error(kNotFound / kIo) naming the file that cannot be opened.
  static std::unique_ptr<AsyncReader> open(const std::vector<std::string>& paths,
                                           const ReaderOptions& options);
  virtual ~AsyncReader() = default;

  // Memory that reads will go to, registered with the kernel where that is possible (fewer page
  // pins per read), in place of what was registered before: pages stay the kernel's until then.
  // Purely an optimisation. While nothing is outstanding.
  virtual void register_memory(std::span<const std::span<std::byte>> regions) = 0;
  void register_memory(std::span<std::byte> memory) { register_memory({&memory, 1}); }

  // Queues all requests; never blocks for data, allocates nothing. At most
  // `ReaderOptions::max_queued` may be outstanding (CHECK).
  virtual void submit(std::span<const ReadRequest> requests) = 0;

  // Collects finished reads into `out`, returns how many. kNow returns at once; kOne waits until
  // at least one is there (returns 0 only when nothing is outstanding).
  enum class Wait { kNow, kOne };
  virtual std::size_t reap(std::span<ReadCompletion> out, Wait wait) = 0;

  virtual std::size_t outstanding() const = 0;  // submitted and not yet reaped

  // Drops what waits, cancels what it can and waits for what the system is reading all the same:
  // then nothing is outstanding, and memory may go. For destructors and after errors, whence it
  // neither throws nor gives up, whatever the system refuses by now.
  virtual void end_reads() noexcept = 0;

  // "io_uring, O_DIRECT, 512-byte alignment" for the start-up report; and which fallback was taken.
  virtual std::string description() const = 0;
  std::uint64_t alignment() const { return alignment_; }  // of offset, address and length
  bool direct() const { return direct_; }
  Bytes bytes_read() const { return bytes_read_; }  // by completed reads, windows included

 protected:
  std::uint64_t alignment_ = 1;
  bool direct_ = false;
  Bytes bytes_read_;
};

}  // namespace hearth::io
