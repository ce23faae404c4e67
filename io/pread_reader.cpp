// Reads with a pool of threads that call pread: works everywhere.
//
// One mutex guards the queue; the threads hold it only to take a piece and to hand it back. A piece
// under way belongs to its thread alone. Reads take hundreds of microseconds, so the lock is cold.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "base/error.h"
#include "base/own_thread_signals.h"
#include "io/reader_backends.h"

namespace hearth::io {
namespace {

constexpr std::uint32_t kMaxThreads = 32;  // no disk measured gained from more

class PreadReader final : public AsyncReader {
 public:
  PreadReader(const ReaderParts& parts, int uring_refusal);
  ~PreadReader() override;

  using AsyncReader::register_memory;
  void register_memory(std::span<const std::span<std::byte>>) override {}  // no gain with pread
  void submit(std::span<const ReadRequest> requests) override;
  std::size_t reap(std::span<ReadCompletion> out, Wait wait) override;
  std::size_t outstanding() const override;
  void end_reads() noexcept override;
  std::string description() const override;

 private:
  void work();
  void read(Piece& piece) const;

  const std::vector<DirectFile> files_;
  KernelCalls& calls_;
  const int uring_refusal_;

  mutable std::mutex mutex_;
  std::condition_variable work_;      // a piece may wait, or closing_
  std::condition_variable finished_;  // a request may be finished
  ReadQueue queue_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

PreadReader::PreadReader(const ReaderParts& parts, int uring_refusal)
    : files_(std::move(parts.files)),
      calls_(parts.calls),
      uring_refusal_(uring_refusal),
      queue_(parts.limits) {
  alignment_ = parts.limits.alignment;
  direct_ = all_direct(files_);
  const std::uint32_t threads = std::min(parts.limits.pieces, kMaxThreads);
  const OwnThreadSignals signals;
  try {
    for (std::uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {  // fewer of them read as well, but none does not
    if (threads_.empty())
      throw_error(ErrorCode::kIo,
                  "cannot start a thread to read with: {}; raise the limit of threads",
                  error.what());
  }
}

PreadReader::~PreadReader() {
  end_reads();
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void PreadReader::submit(std::span<const ReadRequest> requests) {
  {
    const std::lock_guard lock(mutex_);
    for (const ReadRequest& request : requests) {
      CHECK_LT(request.file, files_.size());
      queue_.push(request);
    }
  }
  work_.notify_all();
}

std::size_t PreadReader::reap(std::span<ReadCompletion> out, Wait wait) {
  std::unique_lock lock(mutex_);
  if (wait == Wait::kOne)
    finished_.wait(lock, [&] { return queue_.finished() > 0 || queue_.outstanding() == 0; });
  const std::size_t count = queue_.pop(out);
  bytes_read_ = queue_.bytes_read();
  return count;
}

// Each thread finishes the piece it is reading. The last piece finishes its request, so that its
// thread notifies.
void PreadReader::end_reads() noexcept {
  std::unique_lock lock(mutex_);
  queue_.drop_waiting();
  finished_.wait(lock, [&] { return queue_.pieces_under_way() == 0; });
  queue_.drop_finished();
  bytes_read_ = queue_.bytes_read();
}

void PreadReader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    Piece* const piece = queue_.next();
    if (piece == nullptr) {
      if (closing_) return;
      work_.wait(lock);
      continue;
    }
    lock.unlock();
    read(*piece);
    lock.lock();
    queue_.finish(piece);
    if (queue_.finished() > 0) finished_.notify_one();
  }
}

void PreadReader::read(Piece& piece) const {
  const DirectFile& file = files_[piece.file];
  std::int32_t result;
  do {
    const bool direct = file.direct() && !piece.buffered;
    const std::span<std::byte> destination = piece.next_destination();
    const ssize_t got = pread(direct ? file.direct_fd() : file.buffered_fd(), destination.data(),
                              destination.size(), static_cast<off_t>(piece.next_offset()));
    result = calls_.read_result(destination, static_cast<std::int32_t>(got < 0 ? -errno : got));
  } while (!piece.advance(result, alignment_));
}

std::size_t PreadReader::outstanding() const {
  const std::lock_guard lock(mutex_);
  return queue_.outstanding();
}

std::string PreadReader::description() const {
  const std::lock_guard lock(mutex_);
  const std::string why =
      uring_refusal_ == 0 ? std::string()
                          : fmt::format(" (io_uring refused: {})", std::strerror(uring_refusal_));
  return fmt::format("pread with {} threads{}, {}{}", threads_.size(), why,
                     describe_files(files_, alignment_), describe_trouble(queue_));
}

}  // namespace

std::unique_ptr<AsyncReader> open_pread_reader(const ReaderParts& parts, int uring_refusal) {
  return std::make_unique<PreadReader>(parts, uring_refusal);
}

}  // namespace hearth::io
