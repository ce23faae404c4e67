// For values that are taken apart after the command line was parsed, which names flags by itself.
#pragma once

#include <string_view>

#include "base/error.h"

namespace hearth::tools {

// What `parse` makes of the value of a flag; its errors begin with the name of the flag.
template <typename Parse>
auto parse_for(std::string_view flag, Parse parse) {
  try {
    return parse();
  } catch (const Error& error) {
    throw_error(error.code(), "{}: {}", flag, error.what());
  }
}

}  // namespace hearth::tools
