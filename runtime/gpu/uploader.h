// From files and from any host memory to a device, through pinned pieces: while some are copied the
// others are read or filled. What is read passes neither the page cache, as far as the reader is
// direct, nor the slots of experts in RAM.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/units.h"
#include "io/async_reader.h"
#include "kernels/gpu/device.h"

namespace hearth::runtime {

class Uploader {
 public:
  // Long enough that a copy has the speed of the link, and enough of them for a disk's queue.
  static constexpr Bytes kPiece = kMiB;
  static constexpr std::size_t kPieces = 8;
  static Bytes bytes_needed();  // pinned, of the host

  // All outlive it; without a reader only copy(). Throws Error(kBudget) where host memory cannot be
  // pinned.
  Uploader(kernels::Device& device, kernels::Stream& stream, io::AsyncReader* reader = nullptr);
  ~Uploader();  // no read outlives it
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  void copy(std::byte* to, std::span<const std::byte> from);

  // Bytes of a file, with its name and theirs for the text of an error.
  struct FileRange {
    std::uint32_t file = 0;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    const std::string& path;
    std::string what;
  };
  // Queues the reads; the copies follow in any order. From the first read to finish() nobody else
  // uses the reader. Throws Error(kIo) for this or an earlier range, after which nothing is being
  // read.
  void read(std::byte* to, const FileRange& range);

  // What was read and copied is there, and the pieces are free. Likewise.
  void finish();

  io::AsyncReader& reader() const { return *reader_; }

 private:
  struct Piece {
    std::byte* memory = nullptr;
    std::unique_ptr<kernels::Event> copied;
    // Of the read under way, or the last one.
    std::byte* to = nullptr;
    std::uint64_t skip = 0, bytes = 0;
    std::string path, what;
  };

  std::size_t take_piece();
  void give_back(std::size_t piece);
  void copy_what_arrived();
  [[noreturn]] void fail(const Piece& piece, int error);

  kernels::Stream& stream_;
  io::AsyncReader* const reader_;
  kernels::MappedMemory memory_;
  std::array<Piece, kPieces> pieces_;
  // A ring: at its front the one whose copy began first. The others are being read.
  std::array<std::size_t, kPieces> free_{};
  std::size_t first_free_ = 0, free_count_ = 0;
};

}  // namespace hearth::runtime
