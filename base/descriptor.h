// A file descriptor that is closed once.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

namespace hearth {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  int get() const { return fd_; }

 private:
  int fd_;
};

// What to do where a file cannot be opened, by errno.
const char* advice_on_opening(int error);

// Throws Error(kIo): "cannot be `what`" of this file.
[[noreturn]] void fail_on_file(const std::string& path, const char* what, int error);

}  // namespace hearth
