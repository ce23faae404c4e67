// Small files as a whole: read with a limit, replaced atomically.
#pragma once

#include <string>
#include <string_view>

#include "base/units.h"

namespace hearth {

// Throws Error(kNotFound / kIo), and Error(kBadFile) where the file is larger than `most`.
std::string read_small_file(const std::string& path, Bytes most);

// `path` then holds exactly `contents` (base/file_replacement.h). Throws Error(kIo).
void replace_file(const std::string& path, std::string_view contents);

}  // namespace hearth
