// An error in the source of a template, with its line.
#pragma once

#include "base/error.h"

namespace hearth::runtime::jinja {

template <typename... Args>
[[noreturn]] void fail(unsigned line, fmt::format_string<Args...> what, Args&&... args) {
  throw Error(ErrorCode::kBadFile,
              fmt::format("line {}: {}", line, fmt::format(what, std::forward<Args>(args)...)));
}

}  // namespace hearth::runtime::jinja
