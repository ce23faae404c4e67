#include "io/gguf_cursor.h"

#include <algorithm>

namespace hearth::io {
namespace {

constexpr std::uint64_t kBufferBytes = 64 * 1024;

}  // namespace

GgufCursor::GgufCursor(const ByteSource& source)
    : source_(source),
      end_(std::min(source.size(), kMaxDirectoryBytes)),
      buffer_(std::min(source.size(), kBufferBytes)) {}

std::string GgufCursor::text(std::uint64_t length) {
  require(length);
  std::string value(length, '\0');
  read(std::as_writable_bytes(std::span(value)));
  return value;
}

void GgufCursor::read(std::span<std::byte> out) {
  require(out.size());
  while (!out.empty()) {
    if (buffered_.empty()) refill();
    const std::size_t count = std::min(out.size(), buffered_.size());
    std::copy_n(buffered_.begin(), count, out.begin());
    buffered_ = buffered_.subspan(count);
    out = out.subspan(count);
    position_ += count;
  }
}

void GgufCursor::refill() {
  const std::span window =
      std::span(buffer_).first(std::min<std::uint64_t>(buffer_.size(), remaining()));
  source_.read(position_, window);
  buffered_ = window;
}

void GgufCursor::require(std::uint64_t bytes) const {
  if (bytes <= remaining()) return;
  if (end_ < source_.size())
    damaged("the key/tensor directory does not end within {} MiB", kMaxDirectoryBytes >> 20);
  throw_error(ErrorCode::kBadFile,
              "{}: truncated: the key/tensor directory needs {} more bytes at byte {}; download it "
              "again",
              source_.name(), bytes - remaining(), position_);
}

void GgufCursor::damaged_text(const std::string& what) const {
  throw_error(ErrorCode::kBadFile, "{}: {} at byte {}; the file is damaged, download it again",
              source_.name(), what, position_);
}

}  // namespace hearth::io
