#include "runtime/metadata_reader.h"

#include <limits>

#include "base/error.h"

namespace hearth::runtime {

MetadataReader::MetadataReader(const io::GgufFile& file) : file_(file) {
  const auto name = file.metadata().string("general.architecture");
  if (!name)
    throw_error(ErrorCode::kBadFile,
                "{}: metadata key general.architecture is missing; this is not a model file",
                file.name());
  architecture_ = *name;
}

std::string MetadataReader::full_key(std::string_view key) const {
  return fmt::format("{}.{}", architecture_, key);
}

void MetadataReader::missing(std::string_view key) const {
  throw_error(ErrorCode::kBadFile,
              "{}: metadata key {} is missing; convert or download the model again", file_.name(),
              full_key(key));
}

std::optional<std::uint32_t> MetadataReader::optional_count(std::string_view key,
                                                            Range range) const {
  const auto value = file_.metadata().unsigned_integer(full_key(key), 0);
  if (!value) return std::nullopt;
  if (*value < range.low || *value > range.high)
    throw_error(ErrorCode::kBadFile,
                "{}: metadata key {} is {}, outside {} to {}; the file is damaged", file_.name(),
                full_key(key), *value, range.low, range.high);
  return static_cast<std::uint32_t>(*value);
}

std::uint32_t MetadataReader::required_count(std::string_view key, Range range) const {
  const auto value = optional_count(key, range);
  if (!value) missing(key);
  return *value;
}

std::uint32_t MetadataReader::count_or(std::string_view key, Range range,
                                       std::uint32_t fallback) const {
  return optional_count(key, range).value_or(fallback);
}

float MetadataReader::required_positive(std::string_view key) const {
  if (!file_.metadata().has(full_key(key))) missing(key);
  return positive_or(key, 0);
}

float MetadataReader::positive_or(std::string_view key, float fallback) const {
  const auto value = file_.metadata().real(full_key(key));
  if (!value) return fallback;
  // As an f32, which is what it becomes.
  if (!(*value >= std::numeric_limits<float>::min() && *value <= std::numeric_limits<float>::max()))
    throw_error(ErrorCode::kBadFile,
                "{}: metadata key {} is {}, not a positive number; the file is damaged",
                file_.name(), full_key(key), *value);
  return static_cast<float>(*value);
}

}  // namespace hearth::runtime
