#include "io/gguf_split.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace hearth::io {
namespace {

constexpr std::uint32_t kMaxParts = 99999;  // five digits in the name

std::string part_suffix(std::uint64_t number, std::uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

// `path` without the suffix of part `number`; empty if it is named otherwise.
std::optional<std::string> set_prefix(std::string_view path, std::uint64_t number,
                                      std::uint64_t count) {
  const std::string suffix = part_suffix(number, count);
  if (!path.ends_with(suffix)) return std::nullopt;
  return std::string(path.substr(0, path.size() - suffix.size()));
}

}  // namespace

std::uint64_t split_count(const GgufMetadata& metadata) {
  // Tools that merge a set leave a count of 0 behind.
  return std::max<std::uint64_t>(1, metadata.unsigned_integer("split.count").value_or(1));
}

GgufSplit GgufSplit::of_first_part(const std::string& path, const GgufMetadata& metadata) {
  const std::uint64_t count = split_count(metadata);
  if (count == 1) return {};
  const std::uint64_t number = metadata.unsigned_integer("split.no").value_or(0);
  if (count > kMaxParts || number >= count)
    throw_error(ErrorCode::kBadFile,
                "{}: claims to be part {} of {}; the file is damaged, download it again", path,
                number, count);
  const std::optional<std::string> prefix = set_prefix(path, number, count);
  if (number > 0)
    throw_error(ErrorCode::kUsage, "{}: part {} of {} of a split model; open the first part{}",
                path, number + 1, count,
                prefix ? fmt::format(", {}{}", *prefix, part_suffix(0, count)) : "");
  if (!prefix)
    throw_error(ErrorCode::kUsage,
                "{}: the first of {} parts, whose name must end in {} to find the others; rename "
                "the parts",
                path, count, part_suffix(0, count));
  return {.prefix = *prefix,
          .count = static_cast<std::uint32_t>(count),
          .tensors = metadata.unsigned_integer("split.tensors.count")};
}

std::string GgufSplit::path(std::uint32_t number) const {
  return prefix + part_suffix(number, count);
}

std::unique_ptr<ByteSource> GgufSplit::open(std::uint32_t number) const {
  try {
    return open_file_source(path(number));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    throw_error(ErrorCode::kNotFound,
                "{}: missing, part {} of {} of the model; download it next to the first part",
                path(number), number + 1, count);
  }
}

void GgufSplit::check_later_part(std::uint32_t number, const GgufMetadata& metadata) const {
  const std::uint64_t stored_count = split_count(metadata);
  const std::uint64_t stored_number = metadata.unsigned_integer("split.no").value_or(0);
  if (stored_count != count || stored_number != number)
    throw_error(
        ErrorCode::kBadFile,
        "{}: named part {} of {}, but says that it is part {} of {}; download the set again",
        path(number), number + 1, count, stored_number + 1, stored_count);
}

void GgufSplit::check_tensor_count(std::uint64_t found) const {
  if (tensors && *tensors != found)
    throw_error(ErrorCode::kBadFile,
                "{}: its {} parts hold {} tensors where split.tensors.count says {}; download the "
                "set again",
                path(0), count, found, *tensors);
}

}  // namespace hearth::io
