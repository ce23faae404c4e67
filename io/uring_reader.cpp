// Reads with io_uring: one thread keeps the device's queue full.
//
// At most `queue_depth` reads are in the kernel. The submission queue holds as many and the
// completion queue four times as many, so that neither can overflow, not even when every read is
// cancelled. The ring is made without IORING_SETUP_SINGLE_ISSUER and DEFER_TASKRUN: at a
// few thousand reads a second they gain nothing measurable, and they would tie the reader to one
// thread for life.

#include <fmt/format.h>
#include <liburing.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "io/reader_backends.h"

namespace hearth::io {
namespace {

constexpr std::uint64_t kRegisteredPiece = kGiB.count;  // the kernel's limit for one buffer
constexpr int kMaxBusy = 10000;                         // milliseconds without memory for a read

// The ring itself, and whether this kernel can do with it what the reader needs.
class Ring {
 public:
  Ring(unsigned depth, KernelCalls& calls);
  ~Ring() {
    if (refusal_ == 0) io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  int refusal() const { return refusal_; }  // errno, or 0 for a ring that works
  io_uring* get() { return &ring_; }

  // Hands the kernel what was prepared and waits for `completions` of them. Never blocks for data
  // when that is 0; what the kernel did not take stays prepared. Throws Error(kIo).
  void enter(unsigned completions);
  // The same; false where the kernel refuses, for now or for good.
  bool try_enter(unsigned completions) { return calls_.enter(&ring_, completions) >= 0; }
  // Takes back what was prepared and the kernel did not take; `visit` gets the data of each entry.
  template <typename Visit>
  void withdraw(Visit visit);

 private:
  int probe();

  KernelCalls& calls_;
  io_uring ring_{};
  int refusal_ = 0;
};

Ring::Ring(unsigned depth, KernelCalls& calls) : calls_(calls) {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE;
  params.cq_entries = 4 * depth;
  refusal_ = -calls.set_up_ring(depth, &ring_, &params);
  if (refusal_ != 0) return;
  if (const int missing = probe(); missing != 0) {
    io_uring_queue_exit(&ring_);
    refusal_ = missing;
  }
}

// A sandbox may allow the set-up and refuse the rest; an old kernel may lack an operation.
int Ring::probe() {
  io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr) return ENOSYS;
  const bool supported = io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                         io_uring_opcode_supported(probe, IORING_OP_READ_FIXED) != 0;
  io_uring_free_probe(probe);
  if (!supported) return ENOSYS;

  io_uring_prep_nop(io_uring_get_sqe(&ring_));
  const int submitted = calls_.enter(&ring_, 1);
  if (submitted < 0) return -submitted;
  io_uring_cqe* completion = nullptr;
  if (io_uring_peek_cqe(&ring_, &completion) != 0) return EIO;
  const int result = completion->res;
  io_uring_cqe_seen(&ring_, completion);
  return -result;
}

void Ring::enter(unsigned completions) {
  int busy = 0;
  while (true) {
    const int result = calls_.enter(&ring_, completions);
    if (result >= 0) return;
    if (result == -EINTR) continue;
    const bool may_pass = result == -EAGAIN || result == -EBUSY;
    if (may_pass && (completions == 0 || io_uring_cq_ready(&ring_) >= completions)) return;
    if (!may_pass || ++busy > kMaxBusy)
      throw_error(ErrorCode::kIo, "io_uring stopped taking reads: {}; use --io pread",
                  std::strerror(-result));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// The kernel looks at the tail while it is entered and at no other time, there being no thread of
// its own that polls for entries.
template <typename Visit>
void Ring::withdraw(Visit visit) {
  io_uring_sq& entries = ring_.sq;
  const unsigned taken = io_uring_smp_load_acquire(entries.khead);
  for (unsigned at = taken; at != entries.sqe_tail; ++at)
    visit(reinterpret_cast<void*>(entries.sqes[at & entries.ring_mask].user_data));
  io_uring_smp_store_release(entries.ktail, taken);
  entries.sqe_head = entries.sqe_tail = taken;
}

class UringReader final : public AsyncReader {
 public:
  UringReader(const ReaderParts& parts, std::unique_ptr<Ring> ring);
  ~UringReader() override { end_reads(); }

  using AsyncReader::register_memory;
  void register_memory(std::span<const std::span<std::byte>> regions) override;
  void submit(std::span<const ReadRequest> requests) override;
  std::size_t reap(std::span<ReadCompletion> out, Wait wait) override;
  std::size_t outstanding() const override { return queue_.outstanding(); }
  void end_reads() noexcept override;
  std::string description() const override;

 private:
  void register_files();
  void start_waiting();
  void attempt(Piece& piece);
  void cancel_what_is_under_way();
  int registered_buffer(std::span<const std::byte> destination) const;
  std::size_t registered_bytes() const;
  // Takes every completion that is there; `again` is called for pieces that need another attempt.
  template <typename Again>
  void harvest(Again again);

  const std::vector<DirectFile> files_;
  KernelCalls& calls_;
  ReadQueue queue_;
  std::unique_ptr<Ring> ring_;
  bool files_registered_ = false;
  std::vector<iovec> registered_;  // at most kRegisteredPiece each; empty if none
  int register_refusal_ = 0;
};

UringReader::UringReader(const ReaderParts& parts, std::unique_ptr<Ring> ring)
    : files_(std::move(parts.files)),
      calls_(parts.calls),
      queue_(parts.limits),
      ring_(std::move(ring)) {
  alignment_ = parts.limits.alignment;
  direct_ = all_direct(files_);
  register_files();
}

// Entries 2i and 2i+1: file i with O_DIRECT and through the page cache. Best effort: without, each
// read looks its descriptor up.
void UringReader::register_files() {
  std::vector<int> fds;
  for (const DirectFile& file : files_) {
    fds.push_back(file.direct() ? file.direct_fd() : file.buffered_fd());
    fds.push_back(file.buffered_fd());
  }
  files_registered_ =
      !fds.empty() &&
      io_uring_register_files(ring_->get(), fds.data(), static_cast<unsigned>(fds.size())) == 0;
}

void UringReader::register_memory(std::span<const std::span<std::byte>> regions) {
  CHECK_EQ(queue_.outstanding(), 0u);
  if (!registered_.empty()) io_uring_unregister_buffers(ring_->get());
  registered_.clear();
  std::vector<iovec> buffers;
  for (const std::span<std::byte> memory : regions)
    for (std::size_t at = 0; at < memory.size(); at += kRegisteredPiece)
      buffers.push_back({.iov_base = memory.data() + at,
                         .iov_len = std::min<std::size_t>(kRegisteredPiece, memory.size() - at)});
  if (buffers.empty()) return;
  const int result =
      calls_.register_buffers(ring_->get(), buffers.data(), static_cast<unsigned>(buffers.size()));
  if (result == 0)
    registered_ = std::move(buffers);
  else
    register_refusal_ = -result;
}

void UringReader::submit(std::span<const ReadRequest> requests) {
  for (const ReadRequest& request : requests) {
    CHECK_LT(request.file, files_.size());
    queue_.push(request);
  }
  start_waiting();
}

std::size_t UringReader::reap(std::span<ReadCompletion> out, Wait wait) {
  const auto collect = [this] {
    harvest([this](Piece& piece) { attempt(piece); });
    start_waiting();
  };
  collect();
  while (wait == Wait::kOne && queue_.finished() == 0 && queue_.outstanding() > 0) {
    ring_->enter(1);
    collect();
  }
  const std::size_t count = queue_.pop(out);
  bytes_read_ = queue_.bytes_read();
  return count;
}

// A program may forbid the calls of io_uring once it has opened its files. What the kernel took it
// completes all the same, without being entered, and until then it may write to the destination:
// this is therefore waited for without end, as it would be in a call of pread.
void UringReader::end_reads() noexcept {
  queue_.drop_waiting();
  ring_->withdraw([this](void* piece) { queue_.finish(static_cast<Piece*>(piece)); });
  cancel_what_is_under_way();
  while (queue_.pieces_under_way() > 0) {
    if (!ring_->try_enter(1)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    harvest([this](Piece& piece) { queue_.finish(&piece); });
  }
  ring_->withdraw([](void*) {});  // cancellations that the kernel did not take
  queue_.drop_finished();
  bytes_read_ = queue_.bytes_read();
}

void UringReader::cancel_what_is_under_way() {
  for (Piece& piece : queue_.pieces()) {
    if (!piece.under_way) continue;
    io_uring_sqe* const entry = io_uring_get_sqe(ring_->get());
    CHECK(entry != nullptr);
    io_uring_prep_cancel(entry, &piece, 0);
    io_uring_sqe_set_data(entry, nullptr);
  }
}

void UringReader::start_waiting() {
  while (Piece* const piece = queue_.next()) attempt(*piece);
  if (io_uring_sq_ready(ring_->get()) > 0) ring_->enter(0);
}

void UringReader::attempt(Piece& piece) {
  const DirectFile& file = files_[piece.file];
  const bool buffered = piece.buffered || !file.direct();
  const int fd = files_registered_ ? static_cast<int>(2 * piece.file + (buffered ? 1 : 0))
                 : buffered        ? file.buffered_fd()
                                   : file.direct_fd();
  const std::span<std::byte> destination = piece.next_destination();
  const auto length = static_cast<unsigned>(destination.size());

  io_uring_sqe* const entry = io_uring_get_sqe(ring_->get());
  CHECK(entry != nullptr);  // there is one for each piece
  if (const int buffer = registered_buffer(destination); buffer >= 0)
    io_uring_prep_read_fixed(entry, fd, destination.data(), length, piece.next_offset(), buffer);
  else
    io_uring_prep_read(entry, fd, destination.data(), length, piece.next_offset());
  if (files_registered_) entry->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data(entry, &piece);
}

// Index of the registered buffer that holds all of `destination`; -1 if none does.
int UringReader::registered_buffer(std::span<const std::byte> destination) const {
  const auto first = reinterpret_cast<std::uintptr_t>(destination.data());
  for (std::size_t i = 0; i < registered_.size(); ++i) {
    const auto begin = reinterpret_cast<std::uintptr_t>(registered_[i].iov_base);
    if (first >= begin && first + destination.size() <= begin + registered_[i].iov_len)
      return static_cast<int>(i);
  }
  return -1;
}

std::size_t UringReader::registered_bytes() const {
  std::size_t bytes = 0;
  for (const iovec& buffer : registered_) bytes += buffer.iov_len;
  return bytes;
}

template <typename Again>
void UringReader::harvest(Again again) {
  io_uring_cqe* completion = nullptr;
  while (io_uring_peek_cqe(ring_->get(), &completion) == 0) {
    auto* const piece = static_cast<Piece*>(io_uring_cqe_get_data(completion));
    const std::int32_t raw = completion->res;
    io_uring_cqe_seen(ring_->get(), completion);
    if (piece == nullptr) continue;  // the answer to a cancellation
    const std::int32_t result = calls_.read_result(piece->next_destination(), raw);
    if (piece->advance(result, alignment_))
      queue_.finish(piece);
    else
      again(*piece);
  }
}

std::string UringReader::description() const {
  std::string memory;
  if (!registered_.empty())
    memory = fmt::format(", {} MiB registered", registered_bytes() >> 20);
  else if (register_refusal_ != 0)
    memory = fmt::format(", memory not registered ({}; a higher `ulimit -l` allows it)",
                         std::strerror(register_refusal_));
  return fmt::format("io_uring, {}{}{}", describe_files(files_, alignment_), memory,
                     describe_trouble(queue_));
}

}  // namespace

std::unique_ptr<AsyncReader> open_uring_reader(const ReaderParts& parts, int& refusal) {
  auto ring = std::make_unique<Ring>(parts.limits.pieces, parts.calls);
  refusal = ring->refusal();
  if (refusal != 0) return nullptr;
  return std::make_unique<UringReader>(parts, std::move(ring));
}

}  // namespace hearth::io
