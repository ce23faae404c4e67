// A file of the repository that is a part of the program (cmake/embed.cmake).
#pragma once

#include <span>
#include <string_view>

#include "base/check.h"

namespace hearth {

struct EmbeddedFile {
  std::string_view name;     // without its folders: "profile.html"
  std::string_view content;  // lives as long as the program
};

// The content of the file of that name, which must be one of the files.
inline std::string_view embedded_content(std::span<const EmbeddedFile> files,
                                         std::string_view name) {
  for (const EmbeddedFile& file : files)
    if (file.name == name) return file.content;
  CHECK(!"an embedded file of that name");
  return {};
}

}  // namespace hearth
