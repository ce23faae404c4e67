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
  return checked(key, *value, range);
}

std::uint32_t MetadataReader::checked(std::string_view key, std::uint64_t value,
                                      Range range) const {
  if (value < range.low || value > range.high)
    throw_error(ErrorCode::kBadFile,
                "{}: metadata key {} is {}, outside {} to {}; the file is damaged", file_.name(),
                full_key(key), value, range.low, range.high);
  return static_cast<std::uint32_t>(value);
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

std::uint32_t MetadataReader::count_of_layer(std::string_view key, std::uint32_t layer, Range range,
                                             std::uint32_t fallback) const {
  const auto value = file_.metadata().unsigned_integer(full_key(key), layer);
  return value ? checked(key, *value, range) : fallback;
}

float MetadataReader::required_positive(std::string_view key) const {
  if (!has(key)) missing(key);
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

bool MetadataReader::flag_or(std::string_view key, bool fallback) const {
  return file_.metadata().boolean(full_key(key)).value_or(fallback);
}

std::string MetadataReader::text_or(std::string_view key, std::string_view fallback) const {
  return std::string(file_.metadata().string(full_key(key)).value_or(fallback));
}

std::vector<bool> MetadataReader::flags(std::string_view key, std::uint32_t layers) const {
  const io::GgufValue* value = file_.metadata().find(full_key(key));
  if (value == nullptr || !std::holds_alternative<std::shared_ptr<io::GgufArray>>(*value))
    return {};
  const auto numbers = file_.metadata().integers(full_key(key));
  if (numbers->size() < layers)
    throw_error(ErrorCode::kBadFile,
                "{}: metadata key {} has {} values for {} layers; the file is damaged",
                file_.name(), full_key(key), numbers->size(), layers);
  std::vector<bool> result;
  for (std::uint32_t layer = 0; layer < layers; ++layer) result.push_back((*numbers)[layer] != 0);
  return result;
}

}  // namespace hearth::runtime
