#include "runtime/io_error.h"

#include <cstring>

#include "base/error.h"

namespace hearth::runtime {

void throw_read_error(std::string_view path, int error, std::string_view what) {
  if (error == io::ReadCompletion::kUnexpectedEnd)
    throw_error(ErrorCode::kIo,
                "{}: the file became shorter while {} was read; restore it and start again", path,
                what);
  throw_error(ErrorCode::kIo, "{}: reading {} failed: {}; check the disk and the file", path, what,
              std::strerror(error));
}

}  // namespace hearth::runtime
