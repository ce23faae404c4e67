// A file opened twice: with O_DIRECT where that works, and through the page cache, which finishes
// what O_DIRECT cannot (a short read that ends off the alignment, a file system that changes its
// mind).
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "io/async_reader.h"
#include "io/kernel_calls.h"

namespace hearth::io {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_;
};

class DirectFile {
 public:
  // Throws Error(kNotFound / kIo) naming the file. O_DIRECT is tried with one small read, because
  // some file systems accept the flag and refuse the reads.
  DirectFile(const std::string& path, DirectIo direct, KernelCalls& calls);

  bool direct() const { return direct_.valid(); }
  int direct_fd() const { return direct_.get(); }  // only where direct()
  int buffered_fd() const { return buffered_.get(); }
  std::uint64_t alignment() const { return alignment_; }  // 1 where not direct()
  int refusal() const { return refusal_; }                // errno that refused O_DIRECT, or 0

 private:
  void try_direct(const std::string& path, KernelCalls& calls);

  FileDescriptor buffered_;
  FileDescriptor direct_;
  std::uint64_t alignment_ = 1;
  int refusal_ = 0;
};

}  // namespace hearth::io
