#include "io/read_queue.h"

#include <algorithm>
#include <cerrno>
#include <numeric>

#include "base/check.h"

namespace hearth::io {

namespace {

// With io_uring, reads through the page cache that a thread submitted which has ended meanwhile end
// with ECANCELED or, where they had begun, with EFAULT: its memory is no longer theirs. The next
// attempt is that of the thread that reaps. An address that is wrong remains so.
bool may_pass(std::int32_t result) {
  return result == 0 || result == -EINTR || result == -EAGAIN || result == -ECANCELED ||
         result == -EFAULT;
}

}  // namespace

bool Piece::advance(std::int32_t result, std::uint64_t alignment) {
  ++attempts;
  if (result > 0) {
    CHECK_LE(static_cast<std::uint64_t>(result), next_destination().size());
    done += static_cast<std::uint32_t>(result);
    barren = 0;
    if (done >= needed) return true;
    if (done % alignment != 0) buffered = true;  // O_DIRECT cannot continue here
    return false;
  }
  if (result == -EINVAL && !buffered) {  // O_DIRECT refused after all
    buffered = true;
    return false;
  }
  if (may_pass(result) && barren++ < kMaxRepeats) return false;
  error = result == 0 ? ReadCompletion::kUnexpectedEnd : -result;
  return true;
}

ReadQueue::ReadQueue(const Limits& limits)
    : limits_(limits),
      requests_(limits.requests),
      free_requests_(limits.requests),
      pieces_(limits.pieces),
      free_pieces_(limits.pieces),
      waiting_(limits.requests),
      finished_(limits.requests) {
  CHECK_EQ(limits.piece_bytes % limits.alignment, 0u);
  std::iota(free_requests_.begin(), free_requests_.end(), 0u);
  std::iota(free_pieces_.begin(), free_pieces_.end(), 0u);
}

void ReadQueue::push(const ReadRequest& read) {
  CHECK(!free_requests_.empty());  // more than ReaderOptions::max_queued
  CHECK_EQ(read.offset % limits_.alignment, 0u);
  CHECK_EQ(reinterpret_cast<std::uintptr_t>(read.destination.data()) % limits_.alignment, 0u);
  CHECK_EQ(read.destination.size() % limits_.alignment, 0u);
  CHECK_LE(read.needed, read.destination.size());

  const std::uint32_t request = free_requests_.back();
  free_requests_.pop_back();
  requests_[request] = {.read = read, .end = round_up(read.needed, limits_.alignment)};
  if (read.needed == 0)
    complete(request);
  else
    waiting_.push(request);
}

Piece* ReadQueue::next() {
  if (waiting_.size() == 0 || free_pieces_.empty()) return nullptr;
  const std::uint32_t number = waiting_.front();
  Request& request = requests_[number];
  Piece& piece = pieces_[free_pieces_.back()];
  free_pieces_.pop_back();

  const std::uint64_t length =
      std::min<std::uint64_t>(request.end - request.cut, limits_.piece_bytes);
  piece = {
      .request = number,
      .file = request.read.file,
      .offset = request.read.offset + request.cut,
      .data = request.read.destination.data() + request.cut,
      .length = static_cast<std::uint32_t>(length),
      .needed = static_cast<std::uint32_t>(std::min(length, request.read.needed - request.cut)),
      .under_way = true};
  ++request.pieces;
  request.cut += length;
  if (request.cut == request.end) waiting_.pop();
  return &piece;
}

void ReadQueue::finish(Piece* piece) {
  CHECK(piece->under_way);
  Request& request = requests_[piece->request];
  request.transferred += piece->done;
  repeats_ += std::max(piece->attempts, 1u) - 1;
  if (piece->buffered && limits_.alignment > 1) ++page_cache_pieces_;
  if (piece->error != 0 && request.error == 0) {
    request.error = piece->error;
    if (request.cut < request.end) {  // the rest would be read for nothing
      CHECK_EQ(waiting_.front(), piece->request);
      waiting_.pop();
      request.cut = request.end;
    }
  }
  piece->under_way = false;
  free_pieces_.push_back(static_cast<std::uint32_t>(piece - pieces_.data()));
  if (--request.pieces == 0 && request.cut == request.end) complete(piece->request);
}

void ReadQueue::complete(std::uint32_t request) {
  bytes_read_ += Bytes(requests_[request].transferred);
  finished_.push(request);
}

void ReadQueue::drop_waiting() {
  while (waiting_.size() > 0) {
    Request& request = requests_[waiting_.front()];
    request.end = request.cut;
    if (request.pieces == 0) free_requests_.push_back(waiting_.front());
    waiting_.pop();
  }
}

std::size_t ReadQueue::pop(std::span<ReadCompletion> out) {
  const std::size_t count = std::min(out.size(), finished_.size());
  for (ReadCompletion& completion : out.first(count)) {
    const Request& request = requests_[finished_.front()];
    completion = {.tag = request.read.tag, .error = request.error};
    free_requests_.push_back(finished_.front());
    finished_.pop();
  }
  return count;
}

void ReadQueue::drop_finished() {
  ReadCompletion completion;
  while (pop({&completion, 1}) > 0) continue;
}

}  // namespace hearth::io
