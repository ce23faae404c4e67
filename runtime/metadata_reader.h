// Metadata keys of one architecture, read with range checks and one-line errors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"

namespace hearth::runtime {

class MetadataReader {
 public:
  explicit MetadataReader(const io::GgufFile& file);

  const std::string& architecture() const { return architecture_; }
  const io::GgufFile& file() const { return file_; }

  // `key` without the prefix "<architecture>.". Values outside [low, high] throw Error(kBadFile).
  struct Range {
    std::uint64_t low = 1;
    std::uint64_t high = 0xffffffff;
  };
  std::uint32_t required_count(std::string_view key, Range range) const;
  std::optional<std::uint32_t> optional_count(std::string_view key, Range range) const;
  std::uint32_t count_or(std::string_view key, Range range, std::uint32_t fallback) const;
  // An array has a value for each layer; a scalar, or the fallback, stands for all.
  std::uint32_t count_of_layer(std::string_view key, std::uint32_t layer, Range range,
                               std::uint32_t fallback) const;
  float required_positive(std::string_view key) const;  // finite and above zero
  float positive_or(std::string_view key, float fallback) const;
  bool flag_or(std::string_view key, bool fallback) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;
  // Flags of `layers` layers; empty where the key is absent or one number.
  std::vector<bool> flags(std::string_view key, std::uint32_t layers) const;
  bool has(std::string_view key) const { return file_.metadata().has(full_key(key)); }

 private:
  std::string full_key(std::string_view key) const;
  std::uint32_t checked(std::string_view key, std::uint64_t value, Range range) const;
  [[noreturn]] void missing(std::string_view key) const;

  const io::GgufFile& file_;
  std::string architecture_;
};

}  // namespace hearth::runtime
