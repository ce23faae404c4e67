#include "base/small_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file_replacement.h"

namespace hearth {

std::string read_small_file(const std::string& path, Bytes most) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR))
    throw_error(ErrorCode::kNotFound, "{}: no such file; check the path", printable(path, 400));
  if (file.get() < 0) fail_on_file(path, "opened", errno);
  constexpr std::size_t kPiece = 1 << 16;
  std::string contents;
  while (contents.size() <= most.count) {
    const std::size_t before = contents.size();
    contents.resize(before + std::min<std::uint64_t>(kPiece, most.count - before + 1));
    const ssize_t got = read(file.get(), contents.data() + before, contents.size() - before);
    const int error = errno;
    contents.resize(before + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got == 0) return contents;
    if (got < 0 && error != EINTR) fail_on_file(path, "read", error);
  }
  throw_error(ErrorCode::kBadFile, "{}: is larger than {} bytes, which no file of this kind is",
              printable(path, 400), most.count);
}

void replace_file(const std::string& path, std::string_view contents) {
  FileReplacement file(path);
  file.write(std::as_bytes(std::span(contents)));
  file.commit();
}

}  // namespace hearth
