#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace hearth::detail {

void check_failed(const char* file, int line, const char* text, const std::string& values) {
  std::fprintf(stderr, "hearth: bug: %s:%d: CHECK failed: %s%s\n", file, line, text,
               values.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace hearth::detail
