#include "runtime/gpu/uploader.h"

#include <algorithm>
#include <cstring>

#include "runtime/gpu/mapped.h"

namespace hearth::runtime {

Uploader::Uploader(kernels::Device& device, kernels::Stream& stream) : stream_(stream) {
  for (Buffer& buffer : buffers_) {
    buffer.memory = mapped_memory(device, kPiece, "copies");
    buffer.copied = device.new_event(kernels::EventTiming::kNone);
  }
}

void Uploader::copy(std::byte* to, std::span<const std::byte> from) {
  for (std::size_t at = 0; at < from.size(); at += kPiece.count) {
    const std::size_t bytes = std::min<std::size_t>(kPiece.count, from.size() - at);
    Buffer& buffer = buffers_[next_];
    next_ = 1 - next_;
    buffer.copied->wait();
    std::memcpy(buffer.memory.data(), from.data() + at, bytes);
    stream_.copy(to + at, buffer.memory.data(), Bytes(bytes));
    stream_.record(*buffer.copied);
  }
}

}  // namespace hearth::runtime
