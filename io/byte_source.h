// Bytes that can be read at any position: a file, or memory that stands for one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace hearth::io {

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills `out` from `offset`; the range lies inside size(). Throws Error(kIo).
  virtual void read(std::uint64_t offset, std::span<std::byte> out) const = 0;

  std::uint64_t size() const { return size_; }
  const std::string& name() const { return name_; }  // for messages

 protected:
  ByteSource(std::string name, std::uint64_t size) : name_(std::move(name)), size_(size) {}

 private:
  std::string name_;
  std::uint64_t size_;
};

// A regular file, read with pread: a file that is cut short while it is read gives an error, where
// a mapping would give a signal. Throws Error(kNotFound / kIo) if it cannot be opened and
// Error(kBadFile) if it is empty. With kScattered the system reads nothing ahead.
enum class Access { kInOrder, kScattered };
std::unique_ptr<ByteSource> open_file_source(const std::string& path,
                                             Access access = Access::kInOrder);

// Borrows `bytes`.
std::unique_ptr<ByteSource> memory_source(std::span<const std::byte> bytes, std::string name);

}  // namespace hearth::io
