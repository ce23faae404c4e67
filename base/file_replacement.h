// A file that is replaced atomically, written piece by piece.
//
// What is written goes to a temporary file beside it, which commit() syncs and renames over it.
// Whatever happens on the way, the old or the new file is there, never a mixture; a temporary file
// that a killed process left behind is taken over by the next one. Of a link, the file it points to
// is replaced, but a model takes the place of the link, for that may lead to one of many gigabytes.
// Permissions are kept. Writers at the same time take turns; who has waited for a minute is told.
// Devices and folders are never replaced, and a model only by a model: it may have taken a day to
// download.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "base/descriptor.h"

namespace hearth {

enum class Written { kModel, kOther };

class FileReplacement {
 public:
  // All throw Error(kIo).
  explicit FileReplacement(const std::string& path, Written what = Written::kOther);
  ~FileReplacement();  // without commit() nothing has changed
  FileReplacement(const FileReplacement&) = delete;
  FileReplacement& operator=(const FileReplacement&) = delete;

  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  std::filesystem::path file_, temporary_;
  std::optional<mode_t> permissions_;
  Descriptor written_;
  bool committed_ = false;
};

}  // namespace hearth
