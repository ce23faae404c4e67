#include "io/direct_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"

namespace hearth::io {
namespace {

constexpr std::uint64_t kUnknownAlignment = 4096;  // fits every device in use

// Logical block size of the device that holds the file; 0 if the system does not tell. A partition
// has no queue of its own: its disk, one directory up, has.
std::uint64_t logical_block_size(dev_t device) {
  for (const char* queue : {"queue", "../queue"}) {
    const std::string path = fmt::format("/sys/dev/block/{}:{}/{}/logical_block_size",
                                         major(device), minor(device), queue);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                               &std::fclose);
    unsigned long size = 0;
    if (file != nullptr && std::fscanf(file.get(), "%lu", &size) == 1 && std::has_single_bit(size))
      return size;
  }
  return 0;
}

// What O_DIRECT asks of offset, address and length; 0 where the file system says it has none.
std::uint64_t direct_alignment(int fd) {
#ifdef STATX_DIOALIGN
  struct statx extended{};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &extended) == 0 &&
      (extended.stx_mask & STATX_DIOALIGN) != 0)
    return std::max(extended.stx_dio_mem_align, extended.stx_dio_offset_align);
#endif
  struct stat status{};
  if (fstat(fd, &status) != 0) return kUnknownAlignment;
  const std::uint64_t block = logical_block_size(status.st_dev);
  return block != 0 ? block : kUnknownAlignment;
}

// 0, or the errno with which a first direct read is refused. Errors of the medium are not refusals:
// they are left to the read that needs those bytes.
int first_read_refusal(int fd, std::uint64_t alignment, KernelCalls& calls) {
  // Aligned by hand: mimalloc 2.0.9 returns addresses from aligned_alloc that are not, now and
  // then, and the kernel then refuses a read that it would not refuse from an arena.
  std::vector<std::byte> block(2 * alignment);
  const auto address = reinterpret_cast<std::uintptr_t>(block.data());
  const std::span<std::byte> destination =
      std::span(block).subspan(round_up(address, alignment) - address, alignment);
  const ssize_t result = pread(fd, destination.data(), destination.size(), 0);
  const int code = calls.read_result(destination, result < 0 ? -errno : static_cast<int>(result));
  return code == -EINVAL || code == -EOPNOTSUPP ? -code : 0;
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

DirectFile::DirectFile(const std::string& path, DirectIo direct, KernelCalls& calls) {
  const int fd = calls.open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    throw_error(fd == -ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                "{}: cannot be opened: {}; {}", printable(path, 400), std::strerror(-fd),
                advice_on_opening(-fd));
  buffered_ = FileDescriptor(fd);
  struct stat status{};
  if (fstat(fd, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
    throw_error(ErrorCode::kIo, "{}: not a regular file; give the path of a model file",
                printable(path, 400));
  // Reads are as large as they need to be and land anywhere: read-ahead would only add bytes.
  posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  if (direct == DirectIo::kAuto) try_direct(path, calls);
}

void DirectFile::try_direct(const std::string& path, KernelCalls& calls) {
  FileDescriptor file(calls.open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  const std::uint64_t alignment = file.valid() ? direct_alignment(file.get()) : 0;
  if (!file.valid())
    refusal_ = -file.get();
  else if (alignment == 0)
    refusal_ = EOPNOTSUPP;
  else
    refusal_ = first_read_refusal(file.get(), alignment, calls);
  if (refusal_ != 0) return;
  alignment_ = alignment;
  direct_ = std::move(file);
}

}  // namespace hearth::io
