#include "base/small_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/error.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

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

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw_error(ErrorCode::kIo, "{}: cannot be {}: {}; check the path, its permissions and the disk",
              printable(path, 400), what, std::strerror(error));
}

// Where the file itself lies: a link stays a link, and what it points to is replaced.
fs::path follow_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the kernel
  fs::path file = path;
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(fs::symlink_status(file, error)); ++i) {
    const fs::path target = fs::read_symlink(file, error);
    if (error) fail(path, "written", error.value());
    file = file.parent_path() / target;  // an absolute target stands for itself
  }
  return file;
}

// Of the file that is replaced, where there is one. Devices and folders are not to be replaced.
std::optional<mode_t> permissions_of(const fs::path& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail(path, "written", errno);
    return std::nullopt;
  }
  if (!S_ISREG(status.st_mode))
    throw_error(ErrorCode::kIo, "{}: is not a regular file; name a file to write",
                printable(path.string(), 400));
  return status.st_mode & 0777;
}

bool is_still_named(int fd, const fs::path& path) {
  struct stat opened{};
  struct stat named{};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// Opens the temporary file, empty and locked: of two writers of one file, the second waits, and
// then begins again, because the first has renamed what it was waiting for. File systems without
// locks go without.
Descriptor open_temporary(const fs::path& path) {
  while (true) {
    Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (file.get() < 0) fail(path, "created", errno);
    while (flock(file.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
    if (!is_still_named(file.get(), path)) continue;
    if (ftruncate(file.get(), 0) != 0) fail(path, "written", errno);
    return file;
  }
}

void write_all(int fd, std::string_view contents, const fs::path& path) {
  while (!contents.empty()) {
    const ssize_t written = write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "written", errno);
    contents.remove_prefix(static_cast<std::size_t>(written));
  }
}

// So that the new name outlives a power failure. Some file systems cannot sync folders (EINVAL).
void sync_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0 || (fsync(opened.get()) != 0 && errno != EINVAL))
    fail(folder, "synced", errno);
}

}  // namespace

std::string read_small_file(const std::string& path, Bytes most) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR))
    throw_error(ErrorCode::kNotFound, "{}: no such file; check the path", printable(path, 400));
  if (file.get() < 0) fail(path, "opened", errno);
  constexpr std::size_t kPiece = 1 << 16;
  std::string contents;
  while (contents.size() <= most.count) {
    const std::size_t before = contents.size();
    contents.resize(before + std::min<std::uint64_t>(kPiece, most.count - before + 1));
    const ssize_t got = read(file.get(), contents.data() + before, contents.size() - before);
    const int error = errno;
    contents.resize(before + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got == 0) return contents;
    if (got < 0 && error != EINTR) fail(path, "read", error);
  }
  throw_error(ErrorCode::kBadFile, "{}: is larger than {} bytes, which no file of this kind is",
              printable(path, 400), most.count);
}

void replace_file(const std::string& path, std::string_view contents) {
  const fs::path file = follow_links(path);
  const fs::path temporary = file.string() + ".partial";
  const std::optional<mode_t> permissions = permissions_of(file);
  const Descriptor written = open_temporary(temporary);
  try {
    write_all(written.get(), contents, temporary);
    const bool permitted = !permissions || fchmod(written.get(), *permissions) == 0;
    if (!permitted || fsync(written.get()) != 0) fail(temporary, "written", errno);
    if (rename(temporary.c_str(), file.c_str()) != 0) fail(file, "replaced", errno);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  sync_folder_of(file);
}

}  // namespace hearth
