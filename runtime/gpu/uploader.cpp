#include "runtime/gpu/uploader.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "io/read_window.h"
#include "runtime/gpu/mapped.h"
#include "runtime/io_error.h"

namespace hearth::runtime {
namespace {

constexpr std::uint64_t kMostAlignment = 64 << 10;  // of reads

}  // namespace

Bytes Uploader::bytes_needed() { return kPiece * kPieces + Bytes(kMostAlignment); }

Uploader::Uploader(kernels::Device& device, kernels::Stream& stream, io::AsyncReader* reader)
    : stream_(stream), reader_(reader), memory_(mapped_memory(device, bytes_needed(), "copies")) {
  CHECK(reader == nullptr || kMostAlignment % reader->alignment() == 0);
  const auto begin = reinterpret_cast<std::uintptr_t>(memory_.data());
  std::byte* next = memory_.data() + (round_up(begin, kMostAlignment) - begin);
  for (Piece& piece : pieces_) {
    piece.memory = next;
    piece.copied = device.new_event(kernels::EventTiming::kNone);
    next += kPiece.count;
  }
  for (std::size_t piece = 0; piece < kPieces; ++piece) give_back(piece);
}

Uploader::~Uploader() {
  if (free_count_ < kPieces) reader_->end_reads();
}

void Uploader::give_back(std::size_t piece) {
  free_[(first_free_ + free_count_) % kPieces] = piece;
  free_count_ += 1;
}

// Its last copy is done.
std::size_t Uploader::take_piece() {
  while (free_count_ == 0) copy_what_arrived();
  const std::size_t taken = free_[first_free_];
  first_free_ = (first_free_ + 1) % kPieces;
  free_count_ -= 1;
  pieces_[taken].copied->wait();
  return taken;
}

void Uploader::copy(std::byte* to, std::span<const std::byte> from) {
  for (std::size_t at = 0; at < from.size(); at += kPiece.count) {
    const std::size_t bytes = std::min<std::size_t>(kPiece.count, from.size() - at);
    const std::size_t taken = take_piece();
    Piece& piece = pieces_[taken];
    std::memcpy(piece.memory, from.data() + at, bytes);
    stream_.copy(to + at, piece.memory, Bytes(bytes));
    stream_.record(*piece.copied);
    give_back(taken);
  }
}

void Uploader::read(std::byte* to, const FileRange& range) {
  CHECK(reader_ != nullptr);
  const io::ReadWindow window = io::read_window(range.offset, range.bytes, reader_->alignment());
  for (std::uint64_t at = 0; at < window.length; at += kPiece.count) {
    const std::size_t taken = take_piece();
    Piece& piece = pieces_[taken];
    const std::uint64_t length = std::min(kPiece.count, window.length - at);
    const std::uint64_t needed = std::min(length, window.needed - std::min(at, window.needed));
    piece.to = to;
    piece.skip = at == 0 ? window.skip : 0;
    piece.bytes = needed - piece.skip;
    piece.path = range.path;
    piece.what = range.what;
    to += piece.bytes;
    const io::ReadRequest request{.file = range.file,
                                  .offset = window.offset + at,
                                  .destination = {piece.memory, length},
                                  .needed = needed,
                                  .tag = taken};
    reader_->submit({&request, 1});
  }
}

void Uploader::copy_what_arrived() {
  CHECK(reader_ != nullptr && reader_->outstanding() > 0);
  std::array<io::ReadCompletion, kPieces> completions;
  const std::size_t count = reader_->reap(completions, io::AsyncReader::Wait::kOne);
  for (const io::ReadCompletion& read : std::span(completions).first(count)) {
    CHECK_LT(read.tag, kPieces);
    const Piece& piece = pieces_[read.tag];
    if (read.error != 0) fail(piece, read.error);
    stream_.copy(piece.to, piece.memory + piece.skip, Bytes(piece.bytes));
    stream_.record(*piece.copied);
    give_back(read.tag);
  }
}

void Uploader::fail(const Piece& piece, int error) {
  reader_->end_reads();
  free_count_ = 0;
  for (std::size_t each = 0; each < kPieces; ++each) give_back(each);
  throw_read_error(piece.path, error, piece.what);
}

void Uploader::finish() {
  while (free_count_ < kPieces) copy_what_arrived();
  stream_.synchronize();
}

}  // namespace hearth::runtime
