#include "io/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/error.h"

namespace hearth::io {
namespace {

class FileSource final : public ByteSource {
 public:
  FileSource(const std::string& name, int descriptor, std::uint64_t size)
      : ByteSource(name, size), descriptor_(descriptor) {}
  ~FileSource() override { close(descriptor_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  void read(std::uint64_t offset, std::span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t got = pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0)
        throw_error(ErrorCode::kIo, "{}: cannot read at byte {}: {}; check the disk", name(),
                    offset, std::strerror(errno));
      if (got == 0)
        throw_error(ErrorCode::kIo, "{}: ended at byte {} while being read; is it still written?",
                    name(), offset);
      offset += static_cast<std::uint64_t>(got);
      out = out.subspan(static_cast<std::size_t>(got));
    }
  }

 private:
  int descriptor_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const std::byte> bytes, std::string name)
      : ByteSource(std::move(name), bytes.size()), bytes_(bytes) {}

  void read(std::uint64_t offset, std::span<std::byte> out) const override {
    CHECK(offset <= bytes_.size() && out.size() <= bytes_.size() - offset);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

std::unique_ptr<ByteSource> open_file_source(const std::string& path, Access access) {
  // O_NONBLOCK: opening a pipe without a writer returns, to be refused below.
  const std::string shown = printable(path, 400);
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR))
    throw_error(ErrorCode::kNotFound, "{}: no such file; check the path", shown);
  if (descriptor < 0)
    throw_error(ErrorCode::kIo, "{}: cannot open: {}; {}", shown, std::strerror(errno),
                advice_on_opening(errno));
  struct stat status = {};
  const int stat_error = fstat(descriptor, &status) == 0 ? 0 : errno;
  auto source =
      std::make_unique<FileSource>(shown, descriptor, static_cast<std::uint64_t>(status.st_size));
  if (stat_error != 0)
    throw_error(ErrorCode::kIo, "{}: cannot open: {}; check the disk", shown,
                std::strerror(stat_error));
  if (S_ISDIR(status.st_mode))
    throw_error(ErrorCode::kIo, "{}: is a directory; name a .gguf file inside it", shown);
  if (!S_ISREG(status.st_mode))
    throw_error(ErrorCode::kIo, "{}: is not a regular file; copy the model to a disk first", shown);
  if (status.st_size == 0)
    throw_error(ErrorCode::kBadFile, "{}: is empty; download it again", shown);
  if (access == Access::kScattered) posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
  return source;
}

std::unique_ptr<ByteSource> memory_source(std::span<const std::byte> bytes, std::string name) {
  return std::make_unique<MemorySource>(bytes, std::move(name));
}

}  // namespace hearth::io
