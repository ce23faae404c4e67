#include "runtime/gpu/state_copies.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/gpu/mapped.h"

namespace hearth::runtime {

StateSaver::StateSaver(kernels::Device& device, kernels::Stream& stream,
                       FunctionRef<void(std::span<const std::byte>)> write)
    : stream_(stream),
      write_(write),
      buffer_(mapped_memory(device, kStateBuffer, "the state of a session")) {}

void StateSaver::add(std::span<const std::byte> piece) {
  while (!piece.empty()) {
    if (filled_ == buffer_.size().count) finish();
    const std::size_t bytes = std::min(piece.size(), buffer_.size().count - filled_);
    stream_.copy(buffer_.data() + filled_, piece.data(), Bytes(bytes));
    filled_ += bytes;
    piece = piece.subspan(bytes);
  }
}

void StateSaver::finish() {
  stream_.synchronize();
  write_({buffer_.data(), filled_});
  filled_ = 0;
}

StateLoader::StateLoader(kernels::Device& device, kernels::Stream& stream, Bytes all,
                         FunctionRef<void(std::span<std::byte>)> read)
    : stream_(stream),
      read_(read),
      buffer_(mapped_memory(device, kStateBuffer, "the state of a session")),
      left_(all.count) {}

void StateLoader::add(std::span<std::byte> piece) {
  while (!piece.empty()) {
    if (used_ == filled_) refill();
    const std::size_t bytes = std::min(piece.size(), filled_ - used_);
    stream_.copy(piece.data(), buffer_.data() + used_, Bytes(bytes));
    used_ += bytes;
    piece = piece.subspan(bytes);
  }
}

void StateLoader::refill() {
  CHECK_LT(0u, left_);
  stream_.synchronize();
  used_ = 0;
  filled_ = std::min<std::size_t>(left_, buffer_.size().count);
  left_ -= filled_;
  read_({buffer_.data(), filled_});
}

}  // namespace hearth::runtime
