#include "base/descriptor.h"

#include <cstring>

#include "base/error.h"

namespace hearth {

void fail_on_file(const std::string& path, const char* what, int error) {
  throw_error(ErrorCode::kIo, "{}: cannot be {}: {}; check the path, its permissions and the disk",
              printable(path, 400), what, std::strerror(error));
}

}  // namespace hearth
