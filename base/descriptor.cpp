#include "base/descriptor.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace hearth {

namespace {

bool lacks_descriptors(int error) { return error == EMFILE || error == ENFILE; }

constexpr const char* kMoreDescriptors = "raise the limit of open files (ulimit -n)";

}  // namespace

const char* advice_on_opening(int error) {
  return lacks_descriptors(error) ? kMoreDescriptors : "check the path and its permissions";
}

void fail_on_file(const std::string& path, const char* what, int error) {
  throw_error(
      ErrorCode::kIo, "{}: cannot be {}: {}; {}", printable(path, 400), what, std::strerror(error),
      lacks_descriptors(error) ? kMoreDescriptors : "check the path, its permissions and the disk");
}

}  // namespace hearth
