// Small files as a whole: read with a limit, replaced atomically.
#pragma once

#include <string>
#include <string_view>

#include "base/units.h"

namespace hearth {

// Throws Error(kNotFound / kIo), and Error(kBadFile) where the file is larger than `most`.
std::string read_small_file(const std::string& path, Bytes most);

// `path` then holds exactly `contents`: written to a temporary file beside it, synced, renamed over
// it. Whatever happens on the way, the old or the new file is there, never a mixture; a temporary
// file that a killed process left behind is taken over by the next one. Of a link, the file it
// points to is replaced. Permissions are kept. Writers at the same time take turns.
// Throws Error(kIo).
void replace_file(const std::string& path, std::string_view contents);

}  // namespace hearth
