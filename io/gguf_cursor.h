// Reads the front of a GGUF file value by value, and never past what is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/byte_source.h"

namespace hearth::io {

class GgufCursor {
 public:
  // The largest vocabularies known need about 20 MB. The limit bounds the memory that a damaged
  // count can claim in a file of many gigabytes.
  static constexpr std::uint64_t kMaxDirectoryBytes = std::uint64_t{256} << 20;

  // `source` must outlive the cursor.
  explicit GgufCursor(const ByteSource& source);

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return end_ - position_; }

  template <typename T>
    requires std::is_arithmetic_v<T>
  T number() {
    T value;
    read(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  // The next `length` bytes as text; nothing is allocated before they are known to be there.
  std::string text(std::uint64_t length);

  // Throws Error(kBadFile): "NAME: <what> at byte <position>; the file is damaged, ...".
  template <typename... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> what, Args&&... args) const {
    damaged_text(fmt::format(what, std::forward<Args>(args)...));
  }

 private:
  void require(std::uint64_t bytes) const;
  void read(std::span<std::byte> out);
  void refill();
  [[noreturn]] void damaged_text(const std::string& what) const;

  const ByteSource& source_;
  std::uint64_t end_;           // of what may be read
  std::uint64_t position_ = 0;  // of the next byte
  std::vector<std::byte> buffer_;
  std::span<const std::byte> buffered_;  // the bytes from position_ on that are in buffer_
};

}  // namespace hearth::io
