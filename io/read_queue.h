// The bookkeeping both readers share: which requests wait, which pieces of them are under way, and
// what to do after each attempt. It makes no system call and has no lock; its owner does both.
//
// A request is read in pieces of at most `piece_bytes`, so that a few large requests fill the
// device's queue as well as many small ones. Pieces are cut when there is room for them: the only
// tables are one entry for each request and one for each piece under way, both sized once.
//
//   push ──> waiting ──next──> pieces under way ──finish──> finished ──pop──> gone
//                                 ^        │
//                                 └────────┘ Piece::advance says "not yet": attempt again
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/async_reader.h"

namespace hearth::io {

// Part of a request, read by one attempt or more.
struct Piece {
  static constexpr int kMaxRepeats = 3;  // attempts in a row that gave nothing, after the first

  std::uint32_t request = 0;
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::byte* data = nullptr;
  std::uint32_t length = 0;  // a multiple of the alignment
  std::uint32_t needed = 0;  // of `length`; the end of the file may cut off the rest
  std::uint32_t done = 0;
  bool under_way = false;
  bool buffered = false;  // through the page cache, where nothing needs alignment
  int barren = 0;         // attempts in a row that gave nothing
  int error = 0;          // of the finished piece, as in ReadCompletion
  std::uint32_t attempts = 0;

  // What the next attempt reads.
  std::uint64_t next_offset() const { return offset + done; }
  std::span<std::byte> next_destination() const {
    return {data + done, (buffered ? needed : length) - done};
  }

  // Takes the result of an attempt (bytes, 0 at the end of the file, or -errno); true if the piece
  // is finished, false if next_destination() is to be attempted.
  bool advance(std::int32_t result, std::uint64_t alignment);
};

class ReadQueue {
 public:
  struct Limits {
    std::uint32_t requests = 0;     // waiting, under way and finished together
    std::uint32_t pieces = 0;       // under way
    std::uint32_t piece_bytes = 0;  // a multiple of the alignment
    std::uint64_t alignment = 1;
  };
  explicit ReadQueue(const Limits& limits);

  void push(const ReadRequest& request);  // CHECKs the limit and the alignment of the request
  Piece* next();                          // null: nothing waits, or no room for a piece
  void finish(Piece* piece);              // its request is finished with the last of its pieces
  void drop_waiting();                    // forgets what next() has not given out yet
  std::size_t pop(std::span<ReadCompletion> out);
  void drop_finished();

  std::span<Piece> pieces() { return pieces_; }
  std::uint64_t alignment() const { return limits_.alignment; }
  std::size_t pieces_under_way() const { return pieces_.size() - free_pieces_.size(); }
  std::size_t finished() const { return finished_.size(); }
  std::size_t outstanding() const { return requests_.size() - free_requests_.size(); }
  Bytes bytes_read() const { return bytes_read_; }    // by finished requests
  std::uint64_t repeats() const { return repeats_; }  // attempts after the first of a piece
  std::uint64_t page_cache_pieces() const { return page_cache_pieces_; }  // left O_DIRECT midway

 private:
  struct Request {
    ReadRequest read;
    std::uint64_t cut = 0;     // bytes already cut into pieces
    std::uint64_t end = 0;     // bytes to cut
    std::uint32_t pieces = 0;  // under way
    std::uint64_t transferred = 0;
    int error = 0;
  };
  // First in, first out; every request has room.
  class Fifo {
   public:
    explicit Fifo(std::size_t capacity) : ring_(capacity) {}
    std::size_t size() const { return size_; }
    std::uint32_t front() const { return ring_[begin_]; }
    void push(std::uint32_t request) { ring_[(begin_ + size_++) % ring_.size()] = request; }
    void pop() { begin_ = (begin_ + 1) % ring_.size(), --size_; }

   private:
    std::vector<std::uint32_t> ring_;
    std::size_t begin_ = 0;
    std::size_t size_ = 0;
  };

  void complete(std::uint32_t request);

  Limits limits_;
  std::vector<Request> requests_;
  std::vector<std::uint32_t> free_requests_;
  std::vector<Piece> pieces_;
  std::vector<std::uint32_t> free_pieces_;
  Fifo waiting_;
  Fifo finished_;
  Bytes bytes_read_;
  std::uint64_t repeats_ = 0;
  std::uint64_t page_cache_pieces_ = 0;
};

}  // namespace hearth::io
