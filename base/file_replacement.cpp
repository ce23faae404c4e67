#include "base/file_replacement.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>

#include "base/error.h"

namespace hearth {

namespace {

namespace fs = std::filesystem;

// Where the file itself lies: a link stays a link, and what it points to is replaced.
fs::path follow_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the kernel
  fs::path file = path;
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(fs::symlink_status(file, error)); ++i) {
    const fs::path target = fs::read_symlink(file, error);
    if (error) fail_on_file(path, "written", error.value());
    file = file.parent_path() / target;  // an absolute target stands for itself
  }
  return file;
}

// Judged by its first bytes, those of GGUF.
bool is_model(const fs::path& path) {
  constexpr std::string_view kMagic = "GGUF";
  char start[kMagic.size()] = {};
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.get() >= 0 && read(file.get(), start, sizeof start) == sizeof start &&
         std::string_view(start, sizeof start) == kMagic;
}

// Of the file that is replaced, where there is one and it may be.
std::optional<mode_t> permissions_of(const fs::path& path, Written what) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_on_file(path, "written", errno);
    return std::nullopt;
  }
  if (!S_ISREG(status.st_mode))
    throw_error(ErrorCode::kIo, "{}: is not a regular file; name a file to write",
                printable(path.string(), 400));
  if (what != Written::kModel && is_model(path))
    throw_error(ErrorCode::kIo, "{}: is a model, which would be lost; name another file to write",
                printable(path.string(), 400));
  return status.st_mode & 0777;
}

bool is_still_named(int fd, const fs::path& path) {
  struct stat opened{};
  struct stat named{};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// A session of gigabytes is written within a minute; a model, or the logits of a text, may take
// hours, for which nobody should wait without knowing.
void wait_for_turn(int fd, const fs::path& path) {
  constexpr std::chrono::milliseconds kNap(5);
  int naps = 60'000 / kNap.count();  // counted, so that a process that is stopped loses none
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return;
    if (--naps < 0)
      throw_error(ErrorCode::kIo, "{}: is being written by another process; name another file",
                  printable(path.string(), 400));
    std::this_thread::sleep_for(kNap);
  }
}

// Opens the temporary file, empty and locked: of two writers of one file, the second waits, and
// then begins again, because the first has renamed what it was waiting for. File systems without
// locks go without.
Descriptor open_temporary(const fs::path& path) {
  while (true) {
    Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (file.get() < 0) fail_on_file(path, "created", errno);
    wait_for_turn(file.get(), path);
    if (!is_still_named(file.get(), path)) continue;
    if (ftruncate(file.get(), 0) != 0) fail_on_file(path, "written", errno);
    return file;
  }
}

// So that the new name outlives a power failure. Some file systems cannot sync folders (EINVAL).
void sync_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0 || (fsync(opened.get()) != 0 && errno != EINVAL))
    fail_on_file(folder, "synced", errno);
}

}  // namespace

FileReplacement::FileReplacement(const std::string& path, Written what)
    : file_(what == Written::kModel ? fs::path(path) : follow_links(path)),
      temporary_(file_.string() + ".partial"),
      permissions_(permissions_of(file_, what)),
      written_(open_temporary(temporary_)) {}

FileReplacement::~FileReplacement() {
  if (!committed_) unlink(temporary_.c_str());
}

void FileReplacement::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(written_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_on_file(temporary_, "written", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void FileReplacement::commit() {
  const bool permitted = !permissions_ || fchmod(written_.get(), *permissions_) == 0;
  if (!permitted || fsync(written_.get()) != 0) fail_on_file(temporary_, "written", errno);
  if (rename(temporary_.c_str(), file_.c_str()) != 0) fail_on_file(file_, "replaced", errno);
  committed_ = true;
  sync_folder_of(file_);
}

}  // namespace hearth
