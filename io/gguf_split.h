// A split set: NAME-00001-of-0000N.gguf and its further parts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "io/byte_source.h"
#include "io/gguf.h"

namespace hearth::io {

// The key split.count; 1 for a file that is not split. Throws Error(kBadFile).
std::uint64_t split_count(const GgufMetadata& metadata);

// What the first part says of its set. `count` is 1 for a file that is not split.
// Part numbers count from 0, as the key split.no does; file names count from 1.
struct GgufSplit {
  std::string prefix;  // the path up to "-00001-of-"
  std::uint32_t count = 1;
  std::optional<std::uint64_t> tensors;  // of all parts together

  // Throws if `path` is a later part, or is not named as the first part of its set.
  static GgufSplit of_first_part(const std::string& path, const GgufMetadata& metadata);

  std::string path(std::uint32_t number) const;
  std::unique_ptr<ByteSource> open(std::uint32_t number) const;  // names the set if one is missing
  void check_later_part(std::uint32_t number, const GgufMetadata& metadata) const;
  void check_tensor_count(std::uint64_t found) const;
};

}  // namespace hearth::io
